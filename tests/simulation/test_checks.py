"""Checks of `build()` against the path search of `structure`, and against runs."""

from __future__ import annotations

import random

import pytest

from graphorch.graph.checks import check
from graphorch.graph.topology import build_topology
from tests.simulation.graphs import Sample, invalid_or_not, random_graph, regions_of
from tests.simulation.reference import Conflict, TooLong, run_reference
from tests.simulation.structure import mistakes, structure_of

NOT_STRUCTURE = {"UNORDERED_WRITES", "ERROR_SHADOWED"}  # what `mistakes` does not look for


def codes(sample: Sample) -> set[str]:
    """Return the codes of a graph's problems, with those of the flows inside it."""
    own = {
        problem.code
        for problem in check(sample.blueprint, build_topology(sample.blueprint)).problems
    }
    return own.union(*(codes(flow) for flow in sample.flows.values()))


@pytest.mark.parametrize("part", range(5))
def test_valid_graph_has_no_problem(part):
    """A valid graph has no problem, except that writes may meet."""
    for seed in range(part * 30, part * 30 + 30):
        sample = random_graph(seed)
        assert codes(sample) <= NOT_STRUCTURE, seed
        assert dict(
            check(sample.blueprint, build_topology(sample.blueprint)).regions
        ) == regions_of(sample.structure), seed


@pytest.mark.parametrize("part", range(5))
def test_meeting_writes_are_refused(part):
    """Writes that meet in a run are refused by the checks."""
    met = 0
    for seed in range(1000 + part * 40, 1040 + part * 40):
        sample = random_graph(seed)
        try:
            run_reference(sample)
        except Conflict:
            met += 1
            assert "UNORDERED_WRITES" in codes(sample), seed
        except TooLong:
            pass
    assert met > 2


@pytest.mark.parametrize("part", range(5))
def test_checks_equal_path_search(part):
    """The checks refuse the structures that the path search refuses."""
    verdicts: set[bool] = set()
    for seed in range(part * 60, part * 60 + 60):
        blueprint = invalid_or_not(random.Random(seed))
        structure = structure_of(blueprint)
        if any(join.node in structure.bodies for join in blueprint.joins):
            continue  # a race that is the header of a loop: the path search knows no region for it
        refused = bool(list(mistakes(structure)))
        problems = {
            problem.code for problem in check(blueprint, build_topology(blueprint)).problems
        } - NOT_STRUCTURE
        assert bool(problems) == refused, (seed, problems, list(mistakes(structure)))
        verdicts.add(refused)
    assert verdicts == {True, False}

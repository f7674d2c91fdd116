"""Options that the effect class, the kind of the node, or another option forbids."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from graphorch.graph.build import build_plan
from graphorch.graph.context import Context
from graphorch.graph.fingerprint import compute_fingerprint
from graphorch.graph.node import Node, node
from graphorch.graph.options import Cache, NodeSettings, Retry
from tests.graph.content import (
    Sketch,
    Topic,
    dig,
    jobs_of,
    list_problems,
    look,
    no_notes,
    notes_of,
    to_topic,
)


def with_options(node: Node[Any], **options: Any) -> Node[Any]:
    return type(node)(
        node.fn,
        node.signature,
        name=node.name,
        kind=node.kind,
        options=replace(NodeSettings(), **options),
    )


def alone(**options: Any) -> list[str]:
    sketch = Sketch()
    sketch.chain(with_options(look, **options))
    return list_problems(sketch)


def test_once_forbids_repeating_options() -> None:
    """`effect="once"` forbids every option that repeats a node or leaves it out."""
    fix = "or declare another effect if that is what the node has"
    assert alone(effect="once", retry=Retry(3), cache=Cache(5), hedge_after=1) == [
        "OPTION_EFFECT at node 'look': effect=\"once\" forbids retry: a second attempt "
        f"would repeat the effect\n    fix: leave retry out, {fix}",
        "OPTION_EFFECT at node 'look': effect=\"once\" forbids cache: a result from the "
        "cache would leave the effect out\n"
        f"    fix: leave cache out, {fix}",
        "OPTION_EFFECT at node 'look': effect=\"once\" forbids hedge_after: two attempts "
        "at once would repeat the effect\n"
        f"    fix: leave hedge_after out, {fix}",
    ]


def test_idempotent_forbids_cache_and_hedge() -> None:
    """`effect="idempotent"` allows retries, but neither a cache nor a hedge."""
    problems = alone(effect="idempotent", retry=Retry(3), cache=Cache(5), hedge_after=1)
    assert [line.split(": ")[1] for line in problems] == [
        'effect="idempotent" forbids cache',
        'effect="idempotent" forbids hedge_after',
    ]


def test_pure_allows_all_options() -> None:
    """`effect="pure"` allows all options."""
    assert alone(retry=Retry(3), cache=Cache(5), hedge_after=1, timeout=2, deadline=10) == []


def test_timeout_must_be_below_deadline() -> None:
    """A timeout must be shorter than the deadline."""
    assert alone(timeout=5, deadline=5, hedge_after=6) == [
        "OPTION_TIMES at node 'look': timeout=5 is not less than deadline=5, so it would "
        "never matter\n"
        "    fix: give a timeout below 5, or a longer deadline",
        "OPTION_TIMES at node 'look': hedge_after=6 is not less than timeout=5, so it "
        "would never matter\n"
        "    fix: give a hedge_after below 5, or a longer timeout",
    ]
    assert [line.split(":")[1] for line in alone(deadline=5, hedge_after=6)] == [
        " hedge_after=6 is not less than deadline=5, so it would never matter\n    fix"
    ]


@node
async def slow(t: Topic) -> None: ...
@node
def talking(ctx: Context, t: Topic) -> None: ...


@pytest.mark.parametrize(("fn", "what"), [(slow, "an async function"), (talking, "a Context")])
def test_process_needs_plain_function(fn: Node[Any], what: str) -> None:
    """A process takes plain functions of slices only."""
    sketch = Sketch()
    sketch.chain(with_options(fn, isolation="process"))
    assert list_problems(sketch) == [
        f"OPTION_PROCESS at node '{fn.name}': isolation=\"process\" cannot carry {what} "
        "into another process\n"
        "    fix: use a plain function of slices"
    ]
    assert alone(isolation="process") == []


def test_process_refuses_local_function() -> None:
    """A process refuses a function that is local to another one."""

    @node(isolation="process")
    def inside(t: Topic) -> None: ...

    sketch = Sketch()
    sketch.chain(inside)
    assert list_problems(sketch) == [
        "OPTION_PROCESS at node 'inside': isolation=\"process\" needs a function that "
        "another process can import, and "
        "test_process_refuses_local_function.<locals>.inside is not one\n"
        "    fix: define it with `def` at the top level of a module"
    ]


def test_nesting_node_refuses_cache_and_hedge() -> None:
    """A map or sub flow is neither cached nor hedged."""
    sketch = Sketch()
    inner = build_plan(Sketch().chain(look).spec)
    team = sketch.sub("team", inner, to_topic, no_notes)
    team.options = NodeSettings(cache=Cache(1), hedge_after=1, retry=Retry(2))
    digs = sketch.map("digs", dig, jobs_of, notes_of)
    digs.options = NodeSettings(cache=Cache(1))
    sketch.chain(team, digs)
    assert list_problems(sketch) == [
        "OPTION_NESTED at node 'team': a sub-flow cannot have cache: what runs inside "
        "has its own options\n    fix: give cache to a node inside",
        "OPTION_NESTED at node 'team': a sub-flow cannot have hedge_after: it would run "
        "everything inside twice\n"
        "    fix: give hedge_after to a node inside",
        "OPTION_NESTED at node 'digs': a map cannot have cache: what runs inside has its "
        "own options\n    fix: give cache to a node inside",
    ]


def test_map_worker_is_checked_under_path() -> None:
    """The worker of a map is checked under its path."""
    sketch = Sketch()
    sketch.chain(
        sketch.map("digs", with_options(dig, effect="once", retry=Retry(2)), jobs_of, notes_of)
    )
    assert list_problems(sketch)[0].startswith(
        "OPTION_EFFECT at node 'digs/dig': effect=\"once\" forbids retry"
    )


def test_cache_forbids_resources() -> None:
    """A cached result may not depend on resources, which the key does not hold."""

    @node(cache=Cache(5))
    def ask(ctx: Context[dict], t: Topic) -> Topic:  # type: ignore[type-arg]
        return t

    sketch = Sketch()
    sketch.chain(ask)
    assert list_problems(sketch) == [
        "OPTION_CACHE at node 'ask': it has a cache and reads resources (dict), which other runs "
        "bring others of\n    fix: leave cache out, or put what decides into the state"
    ]


@pytest.mark.parametrize(
    ("options", "shown"),
    [({"isolation": "worker"}, 'isolation="worker"'), ({"pool": "gpu"}, 'pool="gpu"')],
    ids=["isolation", "pool"],
)
def test_agent_does_not_go_out(options: dict[str, Any], shown: str) -> None:
    """An agent stays with its run, which asks the model; a node may run on other workers."""
    asking = Node(look.fn, look.signature, name="ask", kind="agent")
    sketch = Sketch()
    sketch.chain(with_options(asking, **options))
    assert list_problems(sketch) == [
        f"OPTION_WORKER at node 'ask': an agent cannot have {shown}: its run asks the model, not a "
        "worker\n    fix: give the option to its tools, which may run on other workers"
    ]
    assert alone(**options) == []


def test_place_is_no_part_of_graph() -> None:
    """Where a node runs is not in the fingerprint: a stored run goes on wherever there is room."""
    plans = [
        build_plan(Sketch().chain(with_options(look, **options)).spec)
        for options in ({}, {"isolation": "worker"}, {"pool": "gpu"})
    ]
    assert len({compute_fingerprint(plan) for plan in plans}) == 1

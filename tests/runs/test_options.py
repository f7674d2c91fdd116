"""Options of a run are checked, and completed where they are absent."""

from __future__ import annotations

import pytest

from graphorch import InputError, Limits
from graphorch.engine.settings import RunSettings
from graphorch.runs.manager import RunManager
from graphorch.runs.options import RunOptions
from tests.scenarios.flows import FLOWS


def build(options: RunOptions) -> RunSettings:
    """Return the settings of a run of a small flow."""
    return RunManager(FLOWS["chain"]().plan).build_settings(options)


def test_absent_options_have_defaults() -> None:
    settings = build({})
    assert (settings.limits, settings.on_failure, settings.model) == (Limits(), "drain", "")
    assert len(settings.run_id) == 32
    assert settings.run_id != build({}).run_id


def test_none_counts_as_absent() -> None:
    assert len(build({"run_id": None, "budget": None}).run_id) == 32


@pytest.mark.parametrize("run_id", ["-r", ".r", "a b", "a/b", "ä", "r" * 201, ""])
def test_wrong_run_id_is_refused(run_id: str) -> None:
    with pytest.raises(InputError, match=r"is not an id\. Use up to 200 letters, digits"):
        build({"run_id": run_id})


@pytest.mark.parametrize(
    "tags", [{"a": "half \ud83d"}, {"": "a"}, {"a": ""}, {"a": 1}, {"a\n": "b"}]
)
def test_wrong_tags_are_refused(tags: dict[str, str]) -> None:
    """A tag that no journal could hold is refused in memory as well."""
    with pytest.raises(
        InputError, match=r"is not a tag: both are texts\. Use one line of 1 to 200"
    ):
        build({"tags": tags})


def test_longest_run_id_is_taken() -> None:
    assert build({"run_id": "r" * 200}).run_id == "r" * 200


def test_wrong_failure_policy_is_refused() -> None:
    options: dict[str, object] = {"on_failure": "isolated"}
    with pytest.raises(InputError, match=r"on_failure='isolated' is not .* Did you mean 'isolate'"):
        build(options)  # pyright: ignore[reportArgumentType]


def test_tags_are_copied() -> None:
    """A change of the caller's mapping afterwards does not reach the run."""
    tags = {"team": "search"}
    settings = build({"tags": tags})
    tags["team"] = "other"
    assert settings.tags == {"team": "search"}

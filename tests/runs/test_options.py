"""Options of a run are checked, and completed where they are absent."""

from __future__ import annotations

import asyncio
import functools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from graphorch import Budget, Ended, Flow, Graph, InputError, Limits, RunEvent, node
from graphorch.engine.settings import RunSettings
from graphorch.runs.manager import RunManager
from graphorch.runs.options import RunOptions
from tests.scenarios.flows import FLOWS


class Answer(BaseModel): ...


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


@pytest.mark.parametrize("durable", [False, True])
@pytest.mark.parametrize("run_id", ["../r", "", "a b", 5, None, ["r"], "half\udcff"])
def test_wrong_run_id_is_refused_by_all_calls(run_id: Any, durable: bool) -> None:
    """Whatever is asked about a run, its id is checked first, and by the same rule."""
    flow = FLOWS["chain"]()
    calls = [
        flow.resume(run_id, durable=durable),
        flow.answer(run_id, "ask", Answer()),
        flow.cancel(run_id, durable=durable),
        flow.replay(run_id),
        flow.fork(run_id, start="look"),
        flow.rerun(run_id, start="look"),
    ]
    for call in calls:
        with pytest.raises(InputError, match=r"is not an id\. Use up to 200 letters, digits"):
            asyncio.run(call)
    with pytest.raises(InputError, match="is not an id"):
        flow.stop(run_id)


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


async def wait(event: RunEvent) -> None: ...


def generate(event: RunEvent) -> Iterator[None]:
    yield


class Waiting:
    async def __call__(self, event: RunEvent) -> None: ...


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("watch", [wait], r"watch holds 'wait', which is async or a generator\. A run calls its"),
        ("watch", [Waiting()], r"watch holds 'Waiting', which is async or a generator"),
        ("watch", [functools.partial(wait)], r"watch holds 'wait', which is async or a generator"),
        ("watch", [generate], r"watch holds 'generate', which is async or a generator"),
        ("watch", print, r"watch has to be a list of functions, got <built-in function print>"),
        ("watch", "print", r"watch has to be a list of functions, got 'print'"),
        ("watch", ["print"], r"watch holds 'print', which is no function\. Write watch="),
        ("clock", 5, r"clock has to be a plain function that returns the seconds"),
        ("clock", wait, r"clock has to be a plain function that returns the seconds"),
        ("client", "gpt-5", r'client has to be a model client, .* Write model="vendor/model"'),
        ("client", object(), r"client has to be a model client, an object with an async method"),
        ("model", 5, r"model has to be of type str, got 5\. Write model="),
        ("limits", 5, r"limits has to be of type Limits, got 5\. Write limits=Limits"),
        ("budget", 0.5, r"budget has to be of type Budget, got 0\.5\. Write budget=Budget"),
        ("tags", ["a"], r"tags has to be of type Mapping, got \['a'\]"),
        ("nosuch", 1, r"run\(\) has no option 'nosuch'"),
    ],
)
def test_wrong_option_is_refused(option: str, value: object, message: str) -> None:
    """Each entrance of a run refuses a wrong option, before anything runs."""
    flow: Any = FLOWS["chain"]()
    options: Any = {option: value}

    async def stream() -> None:
        async for _ in flow.stream(flow.plan.input(), **options):
            pytest.fail("it ran")

    for enter in (
        lambda: build(options),
        lambda: flow.run_sync(flow.plan.input(), **options),
        lambda: asyncio.run(stream()),
    ):
        with pytest.raises(InputError, match=message):
            enter()


class Count(BaseModel):
    n: int = 0


def plain_flow() -> Flow[Any, Any, Any]:
    @node
    async def a(count: Count) -> Count:
        return Count(n=count.n + 1)

    return Graph("plain", Count).chain(a).build()


def test_clock_without_number_is_refused() -> None:
    flow = plain_flow()
    with pytest.raises(InputError, match="The clock of the run has to return the seconds"):
        flow.run_sync(flow.plan.input(), clock=lambda: "noon")  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("value", ["60", None, True, 0, -1, math.nan, math.inf, [], 1.5])
@pytest.mark.parametrize("name", ["activations", "seconds", "concurrency", "grace"])
def test_wrong_limit_is_refused(name: str, value: Any) -> None:
    """A limit is a number above 0, and a count a whole one; None is no limit."""
    if value is None or (value == 1.5 and name in ("seconds", "grace")):
        assert getattr(Limits(**{name: value}), name) == value
        return
    with pytest.raises(InputError, match=rf"Limits\({name}="):
        Limits(**{name: value})


@pytest.mark.parametrize("value", ["0.5", True, -1, math.nan, math.inf, []])
@pytest.mark.parametrize("unit", ["usd", "tokens", "calls", "seconds"])
def test_wrong_budget_is_refused(unit: str, value: Any) -> None:
    with pytest.raises(InputError, match=rf"Budget\({unit}="):
        Budget(**{unit: value})


def test_choices_of_resume_and_rerun_are_checked(tmp_path: Path) -> None:
    """A mistyped decision about effects is refused, and is not taken for another one."""
    flow, path = plain_flow(), str(tmp_path / "runs.sqlite")
    flow.run_sync(flow.plan.input(), durable=path, run_id="r")
    ambiguous: Any = "repaet"
    with pytest.raises(InputError, match=r"ambiguous='repaet' is not .* Did you mean 'repeat'"):
        asyncio.run(flow.resume("r", ambiguous=ambiguous, durable=path))
    effects: Any = "sevre"
    with pytest.raises(InputError, match=r"effects='sevre' is not .* Did you mean 'serve'"):
        asyncio.run(flow.rerun("r", start="a", effects=effects, durable=path))
    model: Any = ["x"]
    with pytest.raises(InputError, match=r"model has to be of type str"):
        asyncio.run(flow.rerun("r", start="a", model=model, durable=path))


def test_watcher_that_returns_coroutine_is_dropped() -> None:
    """A plain function that returns a coroutine is dropped with a warning, and nothing is lost."""
    heard: list[RunEvent] = []

    async def later(event: RunEvent) -> None:
        heard.append(event)

    flow = plain_flow()
    with pytest.warns(RuntimeWarning, match="returned a coroutine, which nobody awaits") as caught:
        flow.run_sync(flow.plan.input(), watch=[lambda event: later(event)])  # pyright: ignore[reportArgumentType]
    assert len(caught) == 1
    assert heard == []


def test_watcher_may_start_tasks() -> None:
    """A plain function that starts a task hears every event."""
    heard: list[RunEvent] = []

    async def later(event: RunEvent) -> None:
        heard.append(event)

    async def main() -> None:
        flow, tasks = plain_flow(), list[asyncio.Task[None]]()

        def start(event: RunEvent) -> None:
            tasks.append(asyncio.create_task(later(event)))

        await flow.run(flow.plan.input(), watch=[start])
        await asyncio.gather(*tasks)

    asyncio.run(main())
    assert isinstance(heard[-1], Ended)

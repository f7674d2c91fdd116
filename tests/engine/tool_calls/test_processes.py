"""Tools in worker processes."""

from __future__ import annotations

import os
import re
from typing import Any

import pytest

from graphorch import Context, GraphError, RunFailed, tool
from tests.engine.tool_calls.crunching_tools import (
    NoSuchPlace,
    die,
    find_process,
    hang,
    measure,
    measure_apart,
)
from tests.engine.tool_calls.test_loop import Model, run


def test_tool_runs_in_process() -> None:
    """A tool with isolation="process" is found by its address, and tells what it declares."""
    calls = [
        ("find_process", "{}"),
        ("measure_apart", '{"place": "a"}'),
        ("measure_apart", '{"place": "nowhere"}'),
    ]
    model = Model(calls, "done")
    run(model, find_process, measure_apart)
    number, *others = model.results
    assert int(number) != os.getpid()
    assert others == ["a at 12", "Error: 'measure_apart' raised NoSuchPlace: no nowhere"]


def test_tool_made_of_function_runs_in_process() -> None:
    """A tool that was made of a function of a module, under another name, runs there too."""
    made = tool(effect="pure", isolation="process", name="depth", tells=NoSuchPlace)(measure)
    model = Model([("depth", '{"place": "b", "hour": 3}')], "done")
    run(model, made)
    assert model.results == ["b at 3"]


@pytest.mark.parametrize(
    ("function", "expected"),
    [(hang, "hang#0.*timeout=0.3 s"), (die, "die#0.*died before it answered.*exit code 3")],
)
def test_lost_process_fails_agent(function: Any, expected: str) -> None:
    """A tool whose process is killed, or ends, fails its agent with the reason."""
    with pytest.raises(RunFailed) as caught:
        run(Model([(function.name, "{}")], "x"), function)
    assert re.search(expected, str(caught.value), re.DOTALL)


async def wait() -> str:
    return ""


def look(ctx: Context) -> str:
    return ctx.key


def local() -> Any:
    def inner() -> str:
        return ""

    return inner


@pytest.mark.parametrize(
    ("function", "expected"),
    [(wait, "an async function"), (look, "a Context"), (local(), "is not one")],
)
def test_tool_that_cannot_be_sent_is_refused(function: Any, expected: str) -> None:
    """A tool that another process cannot import or call is refused where it is declared."""
    with pytest.raises(GraphError) as caught:
        tool(isolation="process")(function)
    assert expected in str(caught.value)
    assert f"tool '{function.__name__}'" in str(caught.value)

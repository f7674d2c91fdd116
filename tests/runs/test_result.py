"""Results of runs whose reducers fail: one error, wherever the field is read."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import BaseModel

from graphorch import Flow, Graph, NodeError, ReducerFailed, RunFailed, add, node
from graphorch.cli.app import main


class Job(BaseModel):
    job: str = ""


class Notes(BaseModel):
    notes: Annotated[list[str] | None, add] = None


class Text(BaseModel):
    text: str = ""


class State(Job, Notes, Text): ...


@node
def write(job: Job) -> Notes:
    return Notes(notes=["a"])


@node
def read(notes: Notes) -> Text:
    return Text(text=str(notes.notes))


def fail(flow: Flow[Any, Any], given: BaseModel, **options: Any) -> RunFailed:
    with pytest.raises(RunFailed) as caught:
        asyncio.run(flow.run(given, **options))
    return caught.value


FAILURE = r"The reducer 'add' of field 'notes' raised TypeError: .* written by 'write'"


def test_failing_reducer_fails_its_reader() -> None:
    """A node that reads the field fails with the error of the reducer."""
    failed = fail(Graph("g", State, input=Job, output=Text).chain(write, read).build(), Job())
    (error,) = failed.exceptions
    assert isinstance(error, NodeError)
    assert error.node == "read"
    assert isinstance(error.__cause__, ReducerFailed)
    assert error.__cause__.args[0].startswith("The reducer 'add' of field 'notes' raised TypeError")


def test_failing_reducer_at_end_fails_run() -> None:
    """Where only the output reads the field, the run fails with the same error."""
    failed = fail(Graph("g", State, input=Job, output=Notes).chain(write).build(), Job())
    assert "reached END, but its output is unreadable" in str(failed)
    assert failed.end_reason == "failed"
    with pytest.raises(ReducerFailed, match=FAILURE):
        raise failed.exceptions[0]


def test_failing_reducer_beside_output_fails_its_reader() -> None:
    """Where the output does not need the field, the run has one, and the state cannot be read."""

    @node
    def rescue(job: Job) -> Text:
        return Text(text="rescued")

    graph = Graph("g", State, input=Job, output=Text)
    graph.chain(write, read)
    graph.on_error(read, rescue)
    result = graph.build().run_sync(Job())
    assert result.output.text == "rescued"
    with pytest.raises(ReducerFailed, match=FAILURE):
        print(result.state)


@pytest.mark.parametrize("at_end", [True, False])
def test_reducer_cannot_end_program(at_end: bool) -> None:
    """A reducer that exits fails like one that raises."""

    class Exiting(BaseModel):
        exiting: Annotated[int, leave_program] = 0

    class Whole(Job, Text, Exiting): ...

    @node
    def put(job: Job) -> Exiting:
        return Exiting(exiting=1)

    @node
    def look(exiting: Exiting) -> Text:
        return Text(text=str(exiting.exiting))

    graph = Graph("g", Whole, input=Job, output=Exiting if at_end else Text)
    failed = fail(graph.chain(put, *([] if at_end else [look])).build(), Job())
    assert "'leave_program' of field 'exiting' raised ExitRefused" in str(failed)


def leave_program(old: int, new: int) -> int:
    sys.exit(3)


def test_failing_reducer_fails_route_and_loop() -> None:
    """A selector or a condition that reads the field fails its node."""
    graph = Graph("g", State, input=Job, output=Text)
    graph.chain(write, read)
    graph.loop(write, back_to=write, while_=is_short, max_iterations=2)
    (error,) = fail(graph.build(), Job()).exceptions
    assert isinstance(error, NodeError)
    assert error.node == "write"
    assert isinstance(error.__cause__, ReducerFailed)


def is_short(notes: Notes) -> bool:
    return not notes.notes


def test_failing_reducer_fails_sub_flow() -> None:
    """A sub-flow whose output cannot be folded fails as one node."""
    inner = Graph("inner", State, input=Job, output=Notes).chain(write).build()

    def enter(job: Job) -> Job:
        return job

    def leave(notes: Notes) -> Text:
        return Text(text=str(notes.notes))

    graph = Graph("g", State, input=Job, output=Text)
    graph.chain(graph.sub("inside", inner, enter=enter, leave=leave))
    (error,) = fail(graph.build(), Job()).exceptions
    assert isinstance(error, NodeError)
    assert error.node == "inside"
    assert isinstance(error.__cause__, ReducerFailed)


def test_mended_reducer_gives_result_on_resume(tmp_path: Path) -> None:
    """A resume fails in the same way, until the reducer is mended; nothing runs again."""
    ran: list[str] = []
    is_mended = False

    def fold(old: list[str] | None, new: list[str] | None) -> list[str]:
        if not is_mended:
            raise ValueError("cannot fold")
        return [*(old or []), *(new or [])]

    class Folded(BaseModel):
        items: Annotated[list[str] | None, fold] = None

    class Whole(Job, Folded): ...

    @node
    def put(job: Job) -> Folded:
        ran.append("put")
        return Folded(items=["a"])

    flow = Graph("g", Whole, input=Job, output=Folded).chain(put).build()
    path = tmp_path / "runs.db"
    assert "cannot fold" in str(fail(flow, Job(), durable=path, run_id="r"))
    with pytest.raises(RunFailed, match="unreadable"):
        asyncio.run(flow.resume("r", durable=path))
    is_mended = True
    assert asyncio.run(flow.resume("r", durable=path)).output.items == ["a"]
    assert ran == ["put"]


def test_failing_reducer_ends_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command line shows the error without a traceback."""
    path = tmp_path / "notes.py"
    path.write_text(
        "from typing import Annotated\n"
        "from pydantic import BaseModel\n"
        "from graphorch import Graph, add, node\n"
        "class Job(BaseModel): job: str = ''\n"
        "class Notes(BaseModel): notes: Annotated[list[str] | None, add] = None\n"
        "class State(Job, Notes): ...\n"
        "@node\n"
        "def write(job: Job) -> Notes: return Notes(notes=['a'])\n"
        "flow = Graph('g', State, input=Job, output=Notes).chain(write).build()\n"
    )
    with pytest.raises(SystemExit) as ended:
        main(["run", str(path)])
    shown = capsys.readouterr()
    assert ended.value.code == 1
    assert "The reducer 'add' of field 'notes' raised TypeError" in shown.err + shown.out
    assert "Traceback" not in shown.err

"""Durable runs: what a resume, a replay, a fork and a person's answer give back or refuse."""

from __future__ import annotations

import asyncio
import datetime
import enum
import os
import re
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import pytest
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    WrapValidator,
    field_serializer,
)

from graphorch import (
    Context,
    Failure,
    Graph,
    InputError,
    Retry,
    RunFailed,
    node,
)
from graphorch.journal.codec import BodyLimits
from graphorch.journal.memory import MemoryStore
from graphorch.journal.sqlite.store import SqliteStore
from graphorch.runs.stores import open_store
from graphorch.testing import ScriptedModel

BERLIN = ZoneInfo("Europe/Berlin")


class Level(enum.StrEnum):
    LOW = "low"


class Question(BaseModel):
    question: str = "q"


class Answer(BaseModel):
    answer: str = ""


class Step(BaseModel):
    n: int = 0
    m: int = 0


class Values(BaseModel):
    model_config = ConfigDict(ser_json_bytes="hex", val_json_bytes="hex")
    when: datetime.datetime = datetime.datetime(2026, 1, 1)
    clock: datetime.time = datetime.time(0)
    counts: Counter[str] = Counter()
    recent: deque[int] = deque()
    step: Step = Step()
    data: bytes = b""
    free: dict[str, Any] = {}
    cents: Annotated[int, BeforeValidator(lambda value: round(value * 100))] = 0


VALUES = {
    "when": datetime.datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN, fold=1),
    "clock": datetime.time(12, tzinfo=BERLIN),
    "counts": Counter("aab"),
    "recent": deque([1, 2], maxlen=2),
    "step": Step(m=1),
    "data": b"\xff",
    "free": {"level": Level.LOW, "counts": Counter("a"), "pair": (1, {2}), "half": "\ud83d"},
}


class State(Question, Answer, Values): ...


def run(main: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(main)


async def fails(work: Awaitable[Any], pattern: str) -> None:
    """Await a run that fails, and compare what it says with a pattern."""
    with pytest.raises(RunFailed) as caught:
        await work
    assert re.search(pattern, str(caught.value), re.DOTALL), str(caught.value)[:2000]


def show(values: Values) -> str:
    """Return all that can be told of the values, and a moment a day later."""
    later = (values.when + datetime.timedelta(days=1)).isoformat()
    return f"{values!r} {values.recent.maxlen} {values.step.model_fields_set} {later}"


def looking(fail: list[bool]) -> Any:
    """Return a flow that writes values, and fails once in the node that reads them."""

    @node
    def write(q: Question) -> Values:
        return Values(**VALUES, cents=19.99)  # type: ignore[arg-type]

    @node
    def look(v: Values) -> Answer:
        if fail.pop():
            raise RuntimeError("crash")
        return Answer(answer=show(v))

    graph = Graph("looking", State, input=Question, output=Answer)
    return graph.chain(write, look).build()


def test_resume_gives_back_what_was_there(tmp_path: Path) -> None:
    """Zones, bounds, types and unset fields are the same in memory, resumed, forked, replayed."""
    path = tmp_path / "runs.sqlite"

    async def main() -> None:
        expected = (await looking([False]).run(Question())).output.answer
        assert "Counter({'a': 2, 'b': 1})" in expected
        assert "ZoneInfo(key='Europe/Berlin')" in expected
        assert " 2 {'m'} 2026-10-26T02:30:00+01:00" in expected
        await fails(looking([True]).run(Question(), durable=path, run_id="r"), "crash")
        flow = looking([False, False])
        assert (await flow.resume("r", durable=path)).output.answer == expected
        assert (await flow.replay("r", durable=path)).output.answer == expected
        again = await flow.rerun("r", start="look", durable=path)
        assert again.result.output.answer == expected

    run(main())


def test_step_back_gives_back_what_was_there() -> None:
    """A debugger that steps back rebuilds the values from their records."""
    session = looking([False, False]).debug(Question())
    session.run_until()
    expected = session.result.output.answer
    session.step_back()
    session.step()
    assert "Europe/Berlin" in expected
    assert session.result.output.answer == expected
    session.close()


class Item(BaseModel):
    tags: set[str] = set()
    when: datetime.datetime = datetime.datetime(2026, 1, 1)


class Items(BaseModel):
    items: list[Item] = []


class Worked(BaseModel):
    worked: list[str] = []


class Mapped(Question, Items, Worked): ...


def test_replay_accepts_values_without_order(tmp_path: Path) -> None:
    """Sets and zones that go into a map are compared as values, not by their text."""
    path = tmp_path / "runs.sqlite"

    @node
    def find(q: Question) -> Items:
        names = {str(number) for number in range(50)}
        return Items(items=[Item(tags=names, when=datetime.datetime(2026, 3, 1, tzinfo=BERLIN))])

    @node
    def work(item: Item) -> Answer:
        return Answer(answer=f"{len(item.tags)} {item.when.tzinfo}")

    def over(items: Items) -> list[Item]:
        tags = sorted(items.items[0].tags)
        tags.reverse()
        return [Item(tags=set(tags), when=items.items[0].when)]

    def gather(answers: list[Answer]) -> Worked:
        return Worked(worked=[answer.answer for answer in answers])

    graph = Graph("mapped", Mapped, input=Question, output=Worked)
    graph.chain(find, graph.map("each", work, over=over, gather=gather, max_items=9))
    flow = graph.build()

    async def main() -> None:
        result = await flow.run(Question(), durable=path, run_id="r")
        assert result.output.worked == ["50 Europe/Berlin"]
        assert (await flow.replay("r", durable=path)).output == result.output

    run(main())


# ---- what is refused -----------------------------------------------------------------------------
class Loose(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=True)
    loose: Any = None
    text: Annotated[str, WrapValidator(lambda value, handler: value)] = ""
    key: SecretStr = SecretStr("")
    masked: str = ""
    call: Any = len
    ratio: float = float("nan")

    @field_serializer("masked")
    def mask(self, value: str) -> str:
        return "***"


class LooseState(Question, Loose, Answer): ...


@pytest.mark.parametrize(
    "loose, why",
    [
        (
            Loose(loose=Step(n=1)),
            r"'loose' = Step\(n=1, m=0\) .* it comes back as \{'n': 1, 'm': 0\}",
        ),
        (Loose(text=Level.LOW), "'text' = <Level.LOW: 'low'> .* it comes back as 'low'"),
        (
            Loose(key=SecretStr("k")),
            "'key' = .* it holds a secret, which is never written in clear",
        ),
        (Loose(masked="card"), r"'masked', a str, cannot be kept .* it comes back as '\*\*\*'"),
        (Loose(loose="x" * 2**24), "'loose' takes 16,777,218 bytes as JSON"),
        (Loose(text="\ud83d"), "'text' = .* surrogates not allowed"),
    ],
)
def test_unstorable_value_fails_its_node(tmp_path: Path, loose: Loose, why: str) -> None:
    """The error names node, field and reason; a handler gets it; the run can be resumed at once."""
    path = tmp_path / "runs.sqlite"

    @node(name="write")
    def write(q: Question) -> Loose:
        return loose

    @node(name="rescue")
    def rescue(q: Question, failure: Failure) -> Answer:
        return Answer(answer=f"{failure.node} {failure.error}")

    @node(name="after")
    def after(found: Loose | None) -> Answer:
        return Answer(answer="fine")

    def build(*, rescued: bool) -> Any:
        graph = Graph("loose", LooseState, input=Question, output=Answer).chain(write, after)
        if rescued:
            graph.on_error(write, rescue)
        return graph.build()

    async def main() -> None:
        expected = f"Node 'write' failed: Unstorable: {why}"
        await fails(build(rescued=False).run(Question(), durable=path, run_id="r"), expected)
        await fails(build(rescued=False).resume("r", durable=path), expected)
        result = await build(rescued=True).run(Question(), durable=path)
        assert result.output.answer == "write Unstorable"

    run(main())


def test_unstorable_input_leaves_no_run(tmp_path: Path) -> None:
    """An input that a journal could not give back is refused before the run is created."""
    path = tmp_path / "runs.sqlite"

    @node
    def look(found: Loose) -> Answer:
        return Answer(answer=str(found.loose))

    flow = Graph("loose", LooseState, input=Loose, output=Answer).chain(look).build()

    async def main() -> None:
        store = await SqliteStore.open(path)
        assert (await flow.run(Loose(text=Level.LOW))).output.answer == "None"
        with pytest.raises(InputError, match=r"input of flow 'loose' does not fit: 'text' = "):
            await flow.run(Loose(text=Level.LOW), durable=store, run_id="r")
        with pytest.raises(InputError, match="'loose' takes"):
            await flow.run(Loose(loose="x" * 2**24), durable=store, run_id="r")
        assert (await store.list_runs()).runs == ()
        await store.close()

    run(main())


def test_large_items_of_map_name_field() -> None:
    """Items that are too large together fail the map by name, and not the run by accident."""

    @node
    def work(item: Answer) -> Answer:
        return item

    graph = Graph("mapped", Mapped, input=Question, output=Worked)
    each = graph.map(
        "each",
        work,
        over=lambda q: [Answer(answer="x" * 900)] * 3,  # type: ignore[arg-type]
        gather=lambda answers: Worked(worked=[str(len(answers))]),
        max_items=9,
    )
    flow = graph.chain(each).build()

    async def main() -> None:
        store = MemoryStore(limits=BodyLimits(max_bytes=2_800))
        expected = "Node 'each' failed: Unstorable: 'item' takes 2,742 bytes"
        await fails(flow.run(Question(), durable=store), expected)

    run(main())


# ---- texts ---------------------------------------------------------------------------------------
class Page(Exception): ...


def broken_text(self: Exception) -> str:
    raise ValueError("no text")


class Wordless(Exception):
    __str__ = broken_text


@pytest.mark.parametrize(
    "error, name, message",
    [
        (
            FileNotFoundError(2, "No such file", os.fsdecode(b"r\xe9")),
            "FileNotFoundError",
            "r\\udce9",
        ),
        (ValueError("half \ud83d"), "ValueError", "half \\ud83d"),
        (Page("<html>" + "x" * 2**24), "Page", "more characters)"),
        (Wordless(), "Wordless", "(its message cannot be shown: ValueError)"),
        (
            ExceptionGroup("many", [ValueError("a"), ExceptionGroup("in", [KeyError("b")])]),
            "ExceptionGroup",
            "many (2 sub-exceptions): ValueError: a; ExceptionGroup: in (1 sub-exception): "
            "KeyError: 'b'",
        ),
    ],
    ids=["file", "surrogate", "long", "wordless", "group"],
)
@pytest.mark.parametrize("is_durable", [False, True])
def test_odd_error_reaches_its_handler(
    tmp_path: Path, error: Exception, name: str, message: str, is_durable: bool
) -> None:
    """A handler reads the same of an error in memory, in a journal, and when it is replayed."""

    @node(retry=Retry(2, first=0.001))
    def fail(q: Question) -> Answer:
        raise error

    @node
    def rescue(q: Question, failure: Failure) -> Answer:
        return Answer(answer=f"{failure.error}|{failure.message}")

    graph = Graph("odd", State, input=Question, output=Answer).chain(fail)
    flow = graph.on_error(fail, rescue).build()

    async def main() -> str:
        if not is_durable:
            return (await flow.run(Question())).output.answer
        store = await SqliteStore.open(tmp_path / "runs.sqlite")
        answer = (await flow.run(Question(), durable=store, run_id="r")).output.answer
        assert (await flow.replay("r", durable=store)).output.answer == answer
        await store.close()
        return answer

    kind, _, text = run(main()).partition("|")
    assert (kind, message in text, len(text) < 11_000) == (name, True, True)


def test_failed_run_names_class_after_resume(tmp_path: Path) -> None:
    """The class and the text of an error are the same in the process that resumes."""

    @node
    def fail(q: Question) -> Answer:
        raise Page("half \ud83d")

    flow = Graph("odd", State, input=Question, output=Answer).chain(fail).build()

    async def main() -> None:
        path, expected = tmp_path / "runs.sqlite", r"failed: Page: half \\ud83d \(at fail"
        await fails(flow.run(Question(), durable=path, run_id="r"), expected)
        await fails(flow.replay("r", durable=path), expected)
        await fails(flow.resume("r", durable=path), expected)

    run(main())


@pytest.mark.parametrize("is_durable", [False, True])
def test_error_without_text_fails_run(tmp_path: Path, is_durable: bool) -> None:
    """An exception whose text raises is named by its class, and no other error hides it."""

    @node
    def fail(q: Question) -> Answer:
        raise Wordless

    flow = Graph("odd", State, input=Question, output=Answer).chain(fail).build()
    durable = tmp_path / "runs.sqlite" if is_durable else False
    expected = r"Node 'fail' failed: Wordless: \(its message cannot be shown: ValueError\)"
    run(fails(flow.run(Question(), durable=durable), expected))


def test_odd_reason_stops_run(tmp_path: Path) -> None:
    """The reason of a stop is escaped and cut, and the run can be resumed."""
    is_stopped: list[bool] = []

    @node
    async def wait(q: Question) -> Answer:
        if not is_stopped:
            is_stopped.append(True)
            flow.stop("r", reason="half \ud83d" + "x" * 2**24, now=True)
            await asyncio.sleep(60)
        return Answer(answer="fine")

    flow = Graph("odd", State, input=Question, output=Answer).chain(wait).build()

    async def main() -> None:
        path = tmp_path / "runs.sqlite"
        await fails(flow.run(Question(), durable=path, run_id="r"), r"was stopped \(half \\ud83dx")
        assert (await flow.resume("r", durable=path)).output.answer == "fine"

    run(main())


def test_odd_question_is_escaped_and_cut(tmp_path: Path) -> None:
    """A question for people is put in a form that a journal and a terminal can hold."""
    graph = Graph("asking", State, input=Question, output=Answer)
    ask = graph.ask("ask", question=lambda q: "half \ud83d" + "x" * 2**24, answer=Answer)  # type: ignore[arg-type]
    flow = graph.chain(ask).build()

    async def main() -> None:
        path = tmp_path / "runs.sqlite"
        waiting = await flow.run(Question(), durable=path, run_id="r")
        assert waiting.questions[0].text.startswith("half \\ud83dxx")
        assert waiting.questions[0].text.endswith("more characters)")
        for answer, why in (
            (Answer(answer="\ud83d"), "'answer' = "),
            (Answer(answer="x" * 2**24), "takes"),
        ):
            with pytest.raises(InputError, match=f"answer to 'ask' does not fit: .*{why}"):
                await flow.answer("r", "ask", answer, durable=path)
        result = await flow.answer("r", "ask", Answer(answer="fine"), durable=path)
        assert result.output.answer == "fine"

    run(main())


def test_unstorable_model_answer_fails_node_and_is_counted(tmp_path: Path) -> None:
    """An answer that is too large fails its node by name; what it cost is recorded."""
    from graphorch import agent

    @agent(output=Answer)
    def talk(q: Question) -> str:
        return "talk"

    flow = Graph("talking", State, input=Question, output=Answer).chain(talk).build()

    async def main() -> None:
        store = await SqliteStore.open(tmp_path / "runs.sqlite")
        client = ScriptedModel("y" * (17 * 2**20))
        expected = r"AnswerError: The answer of model '.*' cannot be kept .* 17,8\d\d,\d\d\d bytes"
        await fails(flow.run(Question(), durable=store, run_id="r", client=client), expected)
        (failed,) = [
            record.body for record in (await store.load("r")).records if record.kind == "unanswered"
        ]
        assert failed["usage"]["output_tokens"] > 1_000_000
        await store.close()

    run(main())


# ---- leases --------------------------------------------------------------------------------------
def test_run_is_released_whatever_happens(tmp_path: Path) -> None:
    """After a failure of the store or of an option, another process may go on at once."""

    class Filling(MemoryStore):
        """Store that fails at its third append."""

        appends = 0

        def append_soon(self, *arguments: Any, **options: Any) -> Any:
            self.appends += 1
            if self.appends == 3:
                raise ValueError("a bug of the store")
            return super().append_soon(*arguments, **options)

    flow = looking([False, False])

    async def main() -> None:
        store = Filling()
        with pytest.raises(ValueError, match="a bug of the store"):
            await flow.run(Question(), durable=store, run_id="r")
        lease = await store.claim("r", "another", ttl=1)
        await store.release(lease)
        assert "Counter" in (await flow.resume("r", durable=store)).output.answer

    run(main())


def test_wrong_resources_create_no_run() -> None:
    """Options are checked before the run is created."""

    @node
    def look(ctx: Context[Path], q: Question) -> Answer:
        return Answer(answer=str(ctx.resources))

    flow = Graph("needy", State, input=Question, output=Answer).chain(look).build()

    async def main() -> None:
        store = MemoryStore()
        with pytest.raises(InputError, match="needs resources of type Path"):
            await flow.run(Question(), durable=store)
        assert (await store.list_runs()).runs == ()

    run(main())


# ---- types without JSON --------------------------------------------------------------------------
class Connection: ...


class Open(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=True)
    connection: Connection = Connection()
    maybe: Connection | None = None
    ratio: float = float("nan")
    half: str = "\ud83d"


class Made(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=True)
    made: Connection = Field(default_factory=Connection)
    call: Callable[[str], int] = Field(default_factory=lambda: len)
    key: SecretStr = Field(default_factory=lambda: SecretStr("from the environment"))
    day: datetime.date = Field(default_factory=datetime.date.today)


class OpenState(Question, Open, Made, Answer): ...


def test_unwritten_field_needs_no_json(tmp_path: Path) -> None:
    """A state may hold what has no JSON, as long as no node writes it; the graph stays the same.

    A default that a factory makes is kept if it has JSON; each process makes the others.
    """

    def build() -> Any:
        @node(name="look")
        def look(o: Open, made: Made) -> Answer:
            names = [type(value).__name__ for value in (o.connection, made.made)]
            return Answer(answer=f"{names} {made.key.get_secret_value()} {made.call('abc')}")

        return Graph("open", OpenState, input=Question, output=Answer).chain(look).build()

    async def main() -> None:
        path = tmp_path / "runs.sqlite"
        expected = "['Connection', 'Connection'] from the environment 3"
        result = await build().run(Question(), durable=path, run_id="r")
        assert result.output.answer == expected
        assert (await build().resume("r", durable=path)).output.answer == expected
        assert (await build().replay("r", durable=path)).output.answer == expected
        async with open_store(path) as store:
            first = (await store.load("r")).records[0].body
        assert list(first["defaults"]["values"]) == ["day"]

    run(main())

"""A stored run as a fixture: it answers as its models did, and says what a request differs in."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from graphorch import (
    Context,
    Graph,
    InputError,
    JournalError,
    Message,
    ModelError,
    Request,
    Retry,
    RunFailed,
    agent,
    node,
)
from graphorch.journal.memory import MemoryStore
from graphorch.models.budgets.charge import SentRequest
from graphorch.models.errors import TimedOut
from graphorch.testing import (
    RecordedRun,
    ScriptedModel,
    ScriptMismatch,
    call,
    run_virtual,
    when,
)
from graphorch.testing.recorded_calls import Playback
from graphorch.testing.recorded_run import RecordedExchange, RecordedFailure, RecordedMessage
from graphorch.trace import Redaction
from tests.golden.flows import FLOWS, TOPIC, World
from tests.golden.pattern_flows import PATTERNS, SUBJECT

GOLDEN = Path(__file__).parents[1] / "golden"


class Topic(BaseModel):
    topic: str = "tides"


class Draft(BaseModel):
    draft: str = ""


class Verdict(BaseModel):
    score: float = 0
    remark: str = ""


class State(Topic, Draft, Verdict): ...


@agent(output=Draft)
def write(topic: Topic, draft: Draft) -> str:
    return f"Write about {topic.topic}. So far: {draft.draft}"


@agent(output=Verdict)
def judge(draft: Draft) -> str:
    return f"Judge: {draft.draft}"


def is_weak(verdict: Verdict) -> bool:
    return verdict.score < 5


def looping() -> Any:
    graph = Graph("essay", State).chain(write, judge)
    graph.loop(judge, back_to=write, while_=is_weak, max_iterations=3)
    return graph.build()


LOOP = [
    "first",
    Verdict(score=1, remark="short"),
    "second",
    Verdict(score=2, remark="dull"),
    "third",
    Verdict(score=9, remark="fine"),
]


def record(flow: Any, *script: Any, given: Any = None, **options: Any) -> RecordedRun:
    """Run a flow once with a script, and return the run as its journal holds it."""

    async def main() -> RecordedRun:
        store = MemoryStore()
        client = ScriptedModel(*script)
        with contextlib.suppress(RunFailed):
            await flow.run(given or State(), run_id="r", durable=store, client=client, **options)
        return await RecordedRun.read("r", durable=store)

    return run_virtual(main())


def play(flow: Any, run: RecordedRun, **options: Any) -> Any:
    with ScriptedModel(run) as model:
        return run_virtual(flow.run(State.model_validate(run.input), client=model, **options))


def test_loop_is_answered_as_recorded() -> None:
    """Each round of a loop gets its own answers, text and structured."""
    result = play(looping(), record(looping(), *LOOP))
    assert (result.state.draft, result.state.score) == ("third", 9)


def test_answers_keep_usage_and_cost() -> None:
    """An answer comes with the tokens, the price and the note that it had."""
    from graphorch import Response, Usage

    response = Response("x", "vendor/m", Usage(7, 5), 0.5, "reported", "stop", 2, 0.1, 0.05, "why")
    run = record(Graph("g", State).chain(write).build(), response)
    assert run.exchanges[0].response == response
    result = play(Graph("g", State).chain(write).build(), run)
    assert result.cost == 0.5


def test_streamed_answer_is_streamed() -> None:
    """What was streamed is given to those who listen for it."""
    run = record(Graph("g", State).chain(write).build(), "all of it")
    pieces: list[str] = []
    request = ScriptedModel(run)
    asked = Request("m", (Message(content="Write about tides. So far: "),))
    run_virtual(request.complete(asked, pieces.append))
    assert pieces == ["all of it"]


class Item(BaseModel):
    word: str = ""


class Items(BaseModel):
    words: list[str] = ["ebb", "ebb", "flood"]


class Meaning(BaseModel):
    meaning: str = ""


class Entry(Item, Meaning): ...


class Book(Items, Meaning): ...


@agent(output=Meaning)
def explain(item: Item) -> str:
    return f"Explain {item.word}"


def mapping() -> Any:
    inner = Graph("inner", Entry, input=Item, output=Meaning).chain(explain).build()
    graph = Graph("book", Book)
    items = graph.map(
        "each",
        inner,
        over=lambda book: [Item(word=word) for word in book.words],
        gather=lambda found: Meaning(meaning=", ".join(item.meaning for item in found)),
        max_items=5,
    )
    return graph.chain(items).build()


def test_equal_requests_of_map_keep_their_items() -> None:
    """Equal requests of several items are answered by path, whichever of them comes first."""
    from graphorch.testing import Schedule, run_under

    answers = iter(["1", "2", "3"])
    run = record(mapping(), *[when("Explain", *answers)], given=Book())
    assert {exchange.path for exchange in run.exchanges} == {
        f"each[{number}]/explain" for number in range(3)
    }
    expected = ", ".join(
        next(
            exchange.response.text  # pyright: ignore[reportOptionalMemberAccess]
            for exchange in run.exchanges
            if exchange.path == f"each[{number}]/explain"
        )
        for number in range(3)
    )
    for seed in range(20):
        with ScriptedModel(run) as model:
            result = run_under(Schedule(seed), mapping(), Book(), client=model)
        assert result.state.meaning == expected


@given(st.data())
def test_each_request_gets_its_own_answer(data: st.DataObject) -> None:
    """However the nodes take turns, the n-th equal request of a node gets its n-th answer."""
    made = data.draw(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("xy")), max_size=8))
    exchanges = tuple(
        RecordedExchange(path, (RecordedMessage("user", text),)) for path, text in made
    )
    playback = Playback(RecordedRun("r", "g", ("a", "b"), {}, exchanges))
    waiting = {key: [e for e, k in zip(exchanges, made, strict=True) if k == key] for key in made}
    for path, text in data.draw(st.permutations(made)):
        asked = Request("m", (Message(content=text),), metadata={"path": path})
        assert playback.take(asked) is waiting[path, text].pop(0)
    assert playback.list_left() == []


def test_renamed_node_is_answered_by_content() -> None:
    """A request from another path is answered if its content is recorded."""
    run = record(Graph("g", State).chain(write).build(), "x")
    renamed = Graph("g", State).chain(write.named("compose")).build()
    assert play(renamed, run).state.draft == "x"


def test_retry_fails_and_succeeds_as_recorded() -> None:
    """A call that failed fails again, with its class, and the retry gets the next answer."""
    flow = retrying()
    run = record(flow, TimedOut("slow", model="m", limit="total"), "late")
    assert [exchange.failure is None for exchange in run.exchanges] == [False, True]
    assert play(flow, run).state.draft == "late"


@agent(output=Draft, retry=Retry(3, on=(TimedOut,), first=0.1))
def write_again(topic: Topic) -> str:
    return f"Write about {topic.topic}"


def retrying() -> Any:
    return Graph("g", State).chain(write_again).build()


@node
async def careful(ctx: Context, topic: Topic) -> Draft:
    try:
        return Draft(draft=await ctx.complete("hello", model="m"))
    except ModelError as error:
        return Draft(draft=f"{type(error).__name__} {error.status} {error.retryable}: {error}")


@pytest.mark.parametrize(
    "error",
    [
        TimedOut("slow", model="m", limit="total"),
        ModelError("down", model="m", status=503, retryable=True),
        ModelError("no credit", model="m", status=402),
        ModelError("too many", model="m", status=429, retryable=True),
    ],
)
def test_failure_that_node_survives_is_equal(error: ModelError) -> None:
    """A node that survives a failed call sees the class, the status and the text again."""
    flow = Graph("g", State).chain(careful).build()
    run = record(flow, error)
    text = f"{type(error).__name__} {error.status} {error.retryable}: {error}"
    assert play(flow, run).state.draft == text


class Strange(Exception):
    """An exception of a client of the user's own."""


def test_failure_takes_its_error_edge() -> None:
    """An exception of the user's own takes the error edge that it took."""

    @node
    def rescue(topic: Topic) -> Draft:
        return Draft(draft="rescued")

    graph = Graph("g", State).chain(write)
    graph.on_error(write, rescue, when=Strange)
    flow = graph.build()
    run = record(flow, Strange("odd"))
    assert play(flow, run).state.draft == "rescued"


def test_failed_run_fails_again() -> None:
    """A run that failed for good fails with the same message."""
    flow = Graph("g", State).chain(write).build()
    run = record(flow, ModelError("down", model="m", status=503))
    with pytest.raises(RunFailed) as caught:
        play(flow, run)
    assert "down" in str(caught.value.exceptions[0])


class A(BaseModel):
    a: str = ""


class B(BaseModel):
    b: str = ""


class Both(Topic, A, B, Draft): ...


@agent(output=A)
def fast(topic: Topic) -> str:
    return "fast"


@agent(output=B)
def slow(topic: Topic) -> str:
    return "slow"


@node
def merge(a: A, b: B) -> Draft:
    return Draft(draft=f"{a.a}{b.b}")


def racing() -> Any:
    graph = Graph("race", Both)
    graph.fan_out([fast, slow], merge, need=1)
    return graph.build()


class Race:
    """A model that is slow for one of the branches; it may name the requests that it sends."""

    def __init__(self, *, sends: bool) -> None:
        self.sends = sends

    async def complete(self, request: Any, on_text: Any = None) -> Any:
        if self.sends:
            await request.receipt.begin_request(SentRequest("m"))
        if request.messages[-1].content == "slow":
            await asyncio.sleep(5)
        return await ScriptedModel("won").complete(request)


@pytest.mark.parametrize("sends", [True, False])
def test_cancelled_call_is_not_answered(sends: bool) -> None:
    """The branch that lost loses again, also if its call left no record."""

    async def main() -> RecordedRun:
        store = MemoryStore()
        await racing().run(Both(), run_id="r", durable=store, client=Race(sends=sends))
        return await RecordedRun.read("r", durable=store)

    run = run_virtual(main())
    assert [exchange.path for exchange in run.exchanges if not exchange.is_cancelled] == ["fast"]
    for branches in ([fast, slow], [slow, fast]):
        graph = Graph("race", Both)
        graph.fan_out(branches, merge, need=1)
        with ScriptedModel(run) as model:
            result = run_virtual(graph.build().run(Both(), client=model))
        assert (result.state.draft, result.state.a) == ("won", "won")


def test_cancelled_call_that_nothing_cancels_is_named() -> None:
    """Where the flow now waits for such a call, it is refused after a minute."""
    messages = (RecordedMessage("user", "Write about tides. So far: "),)
    exchange = RecordedExchange("write", messages, failure=RecordedFailure("cancelled", ""))
    run = RecordedRun("r", "g", ("write",), {}, (exchange,))
    text = differing(Graph("g", State).chain(write).build(), run)
    assert text.startswith("Call 1, of 'write', was cancelled in the recorded run, and nothing")


# ---- rounds of tools
def look_up(word: str) -> str:
    """Return what a word means."""
    return f"{word} is water"


@agent(output=Verdict, tools=[look_up])
def research(topic: Topic) -> str:
    return f"Find out about {topic.topic}"


def researching() -> Any:
    return Graph("research", State).chain(research).build()


def test_rounds_of_tools_are_answered_as_recorded() -> None:
    """The calls of a round are asked for again, and what the tools return is compared."""
    script = [
        [call("look_up", {"word": "tide"}), call("look_up", {"word": "ebb"})],
        call("look_up", {"word": "flood"}),
        Verdict(score=4, remark="known"),
    ]
    run = record(researching(), *script)
    result = play(researching(), run)
    assert result.state.remark == "known"


def test_changed_result_of_tool_is_shown() -> None:
    """A tool that returns something else than in the recorded run is a difference."""
    run = record(researching(), call("look_up", {"word": "tide"}), Verdict(score=4, remark="known"))

    def look_up(word: str) -> str:
        """Return what a word means."""
        return f"{word} is sand"

    @agent(output=Verdict, tools=[look_up])
    def research(topic: Topic) -> str:
        return f"Find out about {topic.topic}"

    with pytest.raises(RunFailed) as caught:
        play(Graph("research", State).chain(research).build(), run)
    text = str(caught.value.exceptions[0])
    assert "The nearest is its call 2, of 'research': its message " in text
    assert "differs at character 9: recorded 'tide is water', asked 'tide is sand'" in text


# ---- differences
def differing(flow: Any, run: RecordedRun, given: Any = None) -> str:
    """Return what the first unknown request is told."""
    model = ScriptedModel(run)
    with pytest.raises(RunFailed):
        run_virtual(flow.run(given or State(), client=model))
    with pytest.raises(ScriptMismatch) as caught:
        model.check()
    return str(caught.value)


def test_first_difference_is_shown() -> None:
    """A changed prompt is shown beside the nearest recorded one, around the first difference."""
    text = differing(looping(), record(looping(), *LOOP), State(topic="tidal" + "x" * 100))
    assert text == (
        "Call 1, of 'write', is not in the recorded run 'r', which holds 6 calls. The nearest is "
        "its call 1, of 'write': its message 1 (user) differs at character 16: recorded 'Write "
        f"about tides. So far: ', asked 'Write about tidal{'x' * 38}…'. If the change is meant, "
        "record the run anew."
    )


def test_nearest_is_of_same_node() -> None:
    """The nearest request is one of the same node, with the longest equal beginning."""
    run = record(looping(), *LOOP)
    flow = looping()
    model = ScriptedModel(when("So far: first", "another second"), run)
    with pytest.raises(RunFailed):
        run_virtual(flow.run(State(), client=model))
    with pytest.raises(ScriptMismatch, match=r"its call 4, of 'judge'.*'Judge: another second'"):
        model.check()


def test_repeated_request_is_counted() -> None:
    """A request that is made more often than it was says how often."""
    flow = Graph("g", State).chain(write).build()
    run = record(flow, "x")
    model = ScriptedModel(run)
    run_virtual(flow.run(State(), client=model))
    with pytest.raises(RunFailed):
        run_virtual(flow.run(State(), client=model))
    with pytest.raises(ScriptMismatch, match="once in the recorded run 'r', and is made once more"):
        model.check()


@pytest.mark.parametrize(
    "changes, difference",
    [
        ({"output": Verdict}, "it wanted text, and this one Verdict"),
        ({"tools": [look_up]}, "it offered no tools, and this one offers the tools look_up"),
        ({"instructions": "Be brief."}, "its message 1 was of the user, and is of the system"),
    ],
)
def test_other_differences_are_named(changes: Any, difference: str) -> None:
    """Another output, other tools and other roles are named."""

    options: Any = {"output": Draft, "name": "write", **changes}

    @agent(**options)
    def changed(topic: Topic, draft: Draft) -> str:
        return f"Write about {topic.topic}. So far: {draft.draft}"

    run = record(Graph("g", State).chain(write).build(), "x")
    assert difference in differing(Graph("g", State).chain(changed).build(), run)


def test_unused_answers_fail_check() -> None:
    """A flow that asks less than the recorded run did fails the check."""
    run = record(looping(), *LOOP)
    with pytest.raises(ScriptMismatch, match=r"5 of the recorded run 'r', the first for 'judge'"):
        with ScriptedModel(run) as model:
            run_virtual(Graph("g", State).chain(write).build().run(State(), client=model))


def test_script_may_replace_answers() -> None:
    """Answers of `when` come before those of the run, and plain ones after them."""
    run = record(looping(), *LOOP)
    model = ScriptedModel(when("Judge: first", Verdict(score=8)), run)
    assert run_virtual(looping().run(State(), client=model)).state.draft == "first"


# ---- files
def test_file_plays_like_run(tmp_path: Path) -> None:
    """A saved run is loaded as it was, and its file is text that can be compared."""
    run = record(looping(), *LOOP)
    run.save(tmp_path / "a.json")
    loaded = RecordedRun.load(tmp_path / "a.json")
    assert loaded == run
    loaded.save(tmp_path / "b.json")
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert play(looping(), loaded).state.draft == "third"


def test_file_of_failures_and_tools_plays_like_run(tmp_path: Path) -> None:
    """Failures and rounds of tools survive the file too."""
    runs = [
        (retrying(), record(retrying(), TimedOut("slow", model="m", limit="total"), "late")),
        (
            researching(),
            record(researching(), call("look_up", {"word": "x"}), Verdict(score=1, remark="y")),
        ),
    ]
    for flow, run in runs:
        run.save(tmp_path / "a.json")
        loaded = RecordedRun.load(tmp_path / "a.json")
        assert loaded == run
        play(flow, loaded)


def test_file_holds_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Secrets are taken out of a file, also of the input, and the run still plays."""
    key, token = "sk-proj-" + "Ab3" * 14, "my-own-token-value"
    monkeypatch.setenv("MY_API_TOKEN", token)
    given = State(topic=f"{key} and {token}")
    run = record(looping(), f"first {key}", *LOOP[1:], given=given)
    run.save(tmp_path / "a.json")
    text = (tmp_path / "a.json").read_text()
    assert key not in text
    assert token not in text
    loaded = RecordedRun.load(tmp_path / "a.json")
    assert play(looping(), loaded).state.draft == "third"
    # The flow's own input, with the secret, is compared after the same was taken out of it.
    with ScriptedModel(loaded) as model:
        assert run_virtual(looping().run(given, client=model)).state.draft == "third"


def test_own_redaction_is_applied(tmp_path: Path) -> None:
    redaction = Redaction(values=["tides"])
    run = record(looping(), *LOOP)
    run.save(tmp_path / "a.json", redaction=redaction)
    assert "tides" not in (tmp_path / "a.json").read_text()
    loaded = RecordedRun.load(tmp_path / "a.json", redaction=redaction)
    with ScriptedModel(loaded) as model:
        assert run_virtual(looping().run(State(), client=model)).state.draft == "third"


def test_content_must_not_be_hidden(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="without its content cannot be played"):
        record(looping(), *LOOP).save(tmp_path / "a.json", redaction=Redaction(content=False))
    assert not (tmp_path / "a.json").exists()


@pytest.mark.parametrize(
    "content, message",
    [
        ("{", "is no JSON"),
        ("[]", "holds no recorded run. RecordedRun.save"),
        ('{"format": "graphorch recorded run 2"}', "is of the format 'graphorch recorded run 2'"),
        ('{"format": "graphorch recorded run 1"}', "is damaged: it has no 'run'"),
        (
            '{"format": "graphorch recorded run 1", "run": "r", "flow": "f", "nodes": [], '
            '"input": {}, "exchanges": [{"path": 7, "messages": []}], "tool_calls": []}',
            "is damaged: '0.path': Input should be a valid string",
        ),
    ],
)
def test_damaged_file_is_named(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(InputError, match=f"a.json {message}"):
        RecordedRun.load(tmp_path / "a.json")


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a\.json cannot be read: No such file"):
        RecordedRun.load(tmp_path / "a.json")


# ---- journals
def test_journal_must_exist(tmp_path: Path) -> None:
    """Reading makes no journal."""
    path = tmp_path / "none.sqlite"
    with pytest.raises(InputError, match=r"There is no journal .*none\.sqlite"):
        asyncio.run(RecordedRun.read("r", durable=path))
    assert not path.exists()


def test_unknown_run_is_named(tmp_path: Path) -> None:
    path = tmp_path / "runs.sqlite"
    looping().run_sync(State(), run_id="a", durable=path, client=ScriptedModel(*LOOP))
    with pytest.raises(JournalError, match="'b'"):
        asyncio.run(RecordedRun.read("b", durable=path))


def test_model_is_made_from_run(tmp_path: Path) -> None:
    """`from_run` reads a journal in a file."""
    path = tmp_path / "runs.sqlite"
    looping().run_sync(State(), run_id="a", durable=path, client=ScriptedModel(*LOOP))
    model = asyncio.run(ScriptedModel.from_run("a", durable=path))
    with model:
        assert looping().run_sync(State(), client=model).state.draft == "third"


def test_erased_run_is_refused() -> None:
    async def main() -> None:
        store = MemoryStore()
        await looping().run(State(), run_id="a", durable=store, client=ScriptedModel(*LOOP))
        await store.erase("a")
        await RecordedRun.read("a", durable=store)

    with pytest.raises(JournalError, match="content of run a was erased"):
        run_virtual(main())


FORMATS = sorted(path.name for path in GOLDEN.glob("format_*"))


@pytest.mark.parametrize("name", PATTERNS)
@pytest.mark.parametrize("format_", FORMATS)
def test_run_of_every_format_plays(format_: str, name: str, tmp_path: Path) -> None:
    """A run of every format and pattern is read, and plays from a file."""
    path = tmp_path / "runs.sqlite"
    shutil.copyfile(GOLDEN / format_ / f"{name}.golden", path)
    run = asyncio.run(RecordedRun.read(name, durable=path))
    run.save(tmp_path / "run.json")
    expected = json.loads((GOLDEN / format_ / "expected.json").read_text())[name]
    loaded = RecordedRun.load(tmp_path / "run.json")
    assert loaded == run
    with ScriptedModel(loaded) as model:
        result = run_virtual(PATTERNS[name]().run(SUBJECT, client=model))
    if name == "evaluator_loop":  # what it asks was not answered in the recorded run
        assert result.status == "waiting"
    else:
        assert result.state.model_dump(mode="json") == expected


@pytest.mark.parametrize("format_", FORMATS)
def test_finished_run_of_every_format_plays(format_: str, tmp_path: Path) -> None:
    path = tmp_path / "runs.sqlite"
    shutil.copyfile(GOLDEN / format_ / "finished.golden", path)
    run = asyncio.run(RecordedRun.read("finished", durable=path))
    with ScriptedModel(run) as model:
        result = run_virtual(FLOWS["finished"]().run(TOPIC, client=model, resources=World()))
    expected = json.loads((GOLDEN / format_ / "expected.json").read_text())["finished"]
    assert result.state.model_dump(mode="json") == expected


def test_long_conversation_is_compared_without_its_middle() -> None:
    """Messages that a journal left out are not compared, and those around them are."""

    def prompt(end: str) -> list[Message]:
        return [Message(content=f"{number}") for number in range(500)] + [Message(content=end)]

    ends = {"text": "end"}

    @node
    async def ask(ctx: Context, topic: Topic) -> Draft:
        return Draft(draft=await ctx.complete(prompt(ends["text"]), model="m"))

    flow = Graph("g", State).chain(ask).build()
    run = record(flow, "x")
    assert sum(message is None for message in run.exchanges[0].messages) == 101
    assert play(flow, run).state.draft == "x"
    ends["text"] = "and"
    assert "its message 501 (user) differs at character 1: recorded 'end', asked 'and'" in (
        differing(flow, run)
    )


def test_resumed_run_plays_in_one_go() -> None:
    """A run that was interrupted and resumed plays as one that was not."""

    async def main() -> RecordedRun:
        store = MemoryStore()
        first = ScriptedModel("first", ModelError("down", model="m"))
        with pytest.raises(RunFailed):
            await looping().run(State(), run_id="r", durable=store, client=first)
        await looping().resume("r", durable=store, client=ScriptedModel(*LOOP[1:]))
        return await RecordedRun.read("r", durable=store)

    run = run_virtual(main())
    answered = [exchange for exchange in run.exchanges if exchange.failure is None]
    assert len(answered) == 6
    without = dataclasses.replace(run, exchanges=tuple(answered))
    assert play(looping(), without).state.draft == "third"

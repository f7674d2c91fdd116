"""Bodies that are written and read have the keys and types of the declared kinds."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import (
    Annotated,
    Any,
    NotRequired,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

import pytest
from pydantic import BaseModel, ConfigDict, TypeAdapter
from typing_extensions import is_typeddict

from graphorch import (
    START,
    Approval,
    Budget,
    Context,
    Graph,
    Limits,
    ModelError,
    Node,
    Retry,
    RunFailed,
    ToolApproval,
    Usage,
    agent,
    append,
    node,
    tool,
)
from graphorch.core.events import NodeCancelled, RunStarted
from graphorch.core.run import Run
from graphorch.core.tree import Activation
from graphorch.engine.record_bodies import RecordEncoder
from graphorch.engine.replay import HANDLERS as REPLAY_HANDLERS
from graphorch.graph import fingerprint
from graphorch.journal.memory import MemoryStore
from graphorch.journal.record_kinds import BODIES, FORMAT, RECORD_KINDS
from graphorch.journal.records import Record
from graphorch.models.messages import Request, Response, ToolCall
from graphorch.testing import ScriptedModel, run_virtual
from graphorch.trace.conversation import builder as conversation
from graphorch.trace.spans import builder as spans
from tests.agents.mcp.fake_server import FakeServer
from tests.golden.flows import TOPIC, Answering, World, everything, failing


class Count(BaseModel):
    n: int = 0


class Log(BaseModel):
    log: Annotated[list[str], append] = []


class Price(BaseModel):
    price: int


class Word(BaseModel):
    word: str = ""


class State(Count, Log): ...


class Texts(Count, Word): ...


class Given(Count, Log): ...


class Bare(Given, Price): ...


def log_step(name: str, **options: Any) -> Node[Any]:
    @node(name=name, **options)
    async def step(count: Count) -> Log:
        return Log(log=[name])

    return step


def fail_step(name: str, **options: Any) -> Node[Any]:
    @node(name=name, **options)
    async def step(count: Count) -> Log:
        raise OSError("the disk is not there")

    return step


def slow_step(name: str) -> Node[Any]:
    @node(name=name)
    async def step(count: Count) -> Log:
        await asyncio.sleep(1_000)
        return Log(log=[name])

    return step


@node
async def ask_model(ctx: Context, count: Count) -> Log:
    return Log(log=[await ctx.complete("how many?", model="none")])


class Refusing:
    """Model client that fails at every call."""

    async def complete(self, request: Request, on_text: Any = None) -> Response:
        raise ModelError("no", model=request.model, retryable=False, status=400)


async def run_to_failure(work: Awaitable[Any]) -> None:
    with pytest.raises(RunFailed):
        await work


async def finish_golden(store: MemoryStore) -> None:
    """Started with options, entered, commits with routes, a handled failure, calls, ended."""
    limits, budget = Limits(activations=100), Budget(calls=100)
    await everything().run(
        TOPIC, durable=store, run_id="r", client=Answering(), limits=limits, budget=budget
    )


async def resume_failed(store: MemoryStore) -> None:
    """A failure that stops the run, other rules, and the end after all."""
    flow, client = failing(), Answering()
    await run_to_failure(
        flow.run(TOPIC, durable=store, run_id="r", client=client, resources=World())
    )
    other = failing()
    await other.resume(
        "r",
        durable=store,
        client=client,
        resources=World(is_repaired=True),
        limits=Limits(activations=50),
    )


async def pass_gates(store: MemoryStore) -> None:
    """Questions, approvals, and a route that comes after its commit."""
    graph = Graph("g", State)
    flow = graph.chain(log_step("a", gate="before"), log_step("b", gate="after")).build()
    result = await flow.run(State(), durable=store, run_id="r")
    while result.status == "waiting":
        result = await flow.answer("r", result.questions[0], Approval(approved=True), durable=store)


async def cancel_waiting(store: MemoryStore) -> None:
    flow = Graph("g", State).chain(log_step("a", gate="before")).build()
    await flow.run(State(), durable=store, run_id="r")
    await flow.cancel("r", durable=store)


async def retry_failed(store: MemoryStore) -> None:
    retry = Retry(attempts=2, on=(OSError,))
    flow = Graph("g", State).chain(fail_step("a", retry=retry)).build()
    await run_to_failure(flow.run(State(), durable=store, run_id="r"))


async def end_grace(store: MemoryStore) -> None:
    flow = Graph("g", State).chain(log_step("a"), [fail_step("b"), slow_step("c")]).build()
    await run_to_failure(flow.run(State(), durable=store, run_id="r", limits=Limits(grace=1)))


async def act_once(store: MemoryStore) -> None:
    flow = Graph("g", State).chain(log_step("a", effect="once")).build()
    await flow.run(State(), durable=store, run_id="r")


async def call_refusing_model(store: MemoryStore) -> None:
    flow = Graph("g", State).chain(ask_model).build()
    await run_to_failure(flow.run(State(), durable=store, run_id="r", client=Refusing()))


async def skip_join(store: MemoryStore) -> None:
    """A join whose required field only the branch that failed would have written."""

    @node
    async def price(count: Count) -> Price:
        raise OSError("the disk is not there")

    @node
    async def total(price: Price, log: Log) -> Count:
        return Count(n=price.price)

    graph: Graph[Any, Any, Any] = Graph("g", Bare, input=Given)
    flow = graph.chain(log_step("a"), [price, log_step("c")], total).build()
    await run_to_failure(flow.run(Given(), durable=store, run_id="r", on_failure="isolate"))


async def fork_finished(store: MemoryStore) -> None:
    flow = Graph("g", State).chain(log_step("a"), log_step("b")).build()
    await flow.run(State(), durable=store, run_id="old")
    await flow.fork("old", start="b", durable=store, run_id="r")
    await flow.resume("r", durable=store)


async def rerun_serving(store: MemoryStore) -> None:
    @node(effect="once")
    def act(log: Log) -> Log:
        return Log(log=["act"])

    flow = Graph("g", State).chain(log_step("a"), act).build()
    await flow.run(State(), durable=store, run_id="old")
    await flow.rerun("old", start="a", durable=store, effects="serve", run_id="r")


@tool(approve=True)
def send(text: str) -> str:
    return text


@agent(output=Word, tools=[send])
def write(count: Count) -> str:
    return str(count.n)


class Calling:
    """Model client that asks for a tool once."""

    async def complete(self, request: Request, on_text: Any = None) -> Response:
        call = ToolCall(id="a", name="send", arguments='{"text": "hello"}')
        calls = () if len(request.messages) > 1 else (call,)
        usage = Usage(1, 1)
        return Response("x", "m", usage, 0.1, "table", "stop", 1, 0.1, None, tool_calls=calls)


async def change_tool_call(store: MemoryStore) -> None:
    """Calls of tools, and an approval that changes one."""
    flow = Graph("g", Texts, input=Count, output=Word).chain(write).build()
    result = await flow.run(Count(), durable=store, run_id="r", client=Calling())
    answer = ToolApproval(approved=True, arguments={"text": "goodbye"})
    await flow.answer("r", result.questions[0], answer, durable=store, client=Calling())


async def migrate_waiting(store: MemoryStore) -> None:
    def build(name: str) -> Graph[Any, Any, Any]:
        return Graph("g", State).chain(log_step(name), log_step("b", gate="before"))

    def rename(record: dict[str, Any]) -> dict[str, Any]:
        return {**record, "path": "new"} if record.get("path") == "old" else record

    old = build("old").build()
    result = await old.run(State(), durable=store, run_id="r")
    identity = fingerprint.compute_fingerprint(old.plan)
    flow = build("new").migration(from_=identity, change=rename).build()
    await flow.answer("r", result.questions[0].id, Approval(approved=True), durable=store)


async def use_server(store: MemoryStore) -> None:
    @node
    async def ask(ctx: Context, log: Log) -> Log:
        return Log(log=[await ctx.complete("Go on.", tools=[FakeServer()])])

    flow = Graph("g", State).chain(ask).build()
    await flow.run(State(), durable=store, run_id="r", client=ScriptedModel("Done."))


async def review_items(store: MemoryStore) -> None:
    """A map that grows until it has enough, then another one whose `until` raises."""

    @node
    def visit(page: Word) -> Count:
        return Count(n=len(page.word))

    def build(enough: int) -> Any:
        graph = Graph("g", Texts, input=Word, output=Count)
        return graph.chain(
            graph.map(
                "each",
                visit,
                over=lambda s: [Word(word=s.word)],
                gather=lambda counts: Count(n=len(counts)),
                max_items=9,
                until=lambda counts: 1 // enough > 0 and len(counts) == 3,
                grow=lambda count: [Word(word="a" * (count.n + 1))],
            )
        ).build()

    await build(1).run(Word(), durable=store, run_id="r")
    records = list((await store.load("r")).records)
    failing = MemoryStore()
    await run_to_failure(build(0).run(Word(), durable=failing, run_id="r"))
    (failed,) = [
        record for record in (await failing.load("r")).records if record.kind == "reviewed"
    ]
    check_body(records[3].body, BODIES["reviewed"], "reviewed")
    check_body(failed.body, BODIES["reviewed"], "reviewed")
    assert failed.body["failure"]["error"] == "ZeroDivisionError"


async def wait_for_signal(store: MemoryStore) -> None:
    graph = Graph("g", Texts, input=Count, output=Word)
    flow = graph.chain(START, graph.signal("word", Word)).build()
    await flow.run(Count(), durable=store, run_id="r")
    await flow.send("r", "word", Word(word="hello"), durable=store)


SCENARIOS: dict[Callable[[MemoryStore], Awaitable[None]], set[str]] = {
    finish_golden: {"started", "commit", "entered", "failed", "sending", "call", "ended"},
    resume_failed: {"failed", "continued", "resumed", "rules"},
    pass_gates: {"asked", "approved", "routed"},
    cancel_waiting: {"stopping"},
    retry_failed: {"retry"},
    end_grace: {"grace"},
    act_once: {"starting"},
    call_refusing_model: {"sending", "unanswered"},
    skip_join: {"skipped"},
    fork_finished: {"forked"},
    rerun_serving: {"forked", "pinned"},
    change_tool_call: {"tools", "asked", "approved", "starting"},
    migrate_waiting: {"migrated"},
    use_server: {"listed"},
    review_items: {"reviewed"},
    wait_for_signal: {"waiting", "signal"},
}


async def write_run(scenario: Callable[[MemoryStore], Awaitable[None]]) -> tuple[Record, ...]:
    store = MemoryStore()
    await scenario(store)
    return (await store.load("r")).records


def check_body(body: Any, declared: type, where: str) -> None:
    """Hold a body to a TypedDict: exactly its keys, each with a value of its type."""
    fields = get_type_hints(declared, include_extras=True)
    optional = {name for name, hint in fields.items() if get_origin(hint) is NotRequired}
    assert fields.keys() - optional <= body.keys() <= fields.keys(), where
    for name, value in body.items():
        hint = get_args(fields[name])[0] if name in optional else fields[name]
        if is_typeddict(hint):
            check_body(value, hint, f"{where}.{name}")
        else:
            adapter: TypeAdapter[Any] = TypeAdapter(hint, config=ConfigDict(strict=True))
            assert adapter.validate_python(value) == value, f"{where}.{name}"


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_written_bodies_match_declaration(
    scenario: Callable[[MemoryStore], Awaitable[None]],
) -> None:
    """Bodies that the scenarios write match the declared kinds."""
    records = run_virtual(write_run(scenario))
    assert SCENARIOS[scenario] <= {record.kind for record in records}
    bodies = cast(Mapping[str, type], BODIES)
    for record in records:
        check_body(record.body, bodies[record.kind], f"{record.seq} {record.kind}")


def test_scenarios_write_all_kinds() -> None:
    """All kinds but "cancelled" are written; the scheduler never cancels a single node."""
    assert set.union(*SCENARIOS.values()) | {"cancelled"} == RECORD_KINDS == BODIES.keys()


def test_cancelled_body_matches_declaration() -> None:
    """The body of a "cancelled" record matches its declaration."""
    plan = Graph("g", State).chain(log_step("a")).build().plan
    commands = Run(plan, "r").handle(RunStarted({}))
    activation = next(command for command in commands if isinstance(command, Activation))
    kind, body = RecordEncoder(plan, {}).encode(NodeCancelled(activation, 1.0))
    assert kind == "cancelled"
    check_body(body, BODIES[kind], kind)


def test_optional_fields_of_started_are_written() -> None:
    """A limit and a budget are kept in the first record."""
    body = run_virtual(write_run(finish_golden))[0].body
    assert body["rules"] == {"activations": 100, "on_failure": "drain"}
    assert body["budget"] == {"calls": 100}


def test_commit_holds_route_unless_separate() -> None:
    """A gate after a node comes between its result and its routing."""
    golden = run_virtual(write_run(finish_golden))
    assert any("route" in record.body for record in golden if record.kind == "commit")
    assert "routed" not in {record.kind for record in golden}


def test_replay_handles_all_kinds() -> None:
    """Replay handles all kinds of records."""
    assert REPLAY_HANDLERS.keys() == RECORD_KINDS


@pytest.mark.parametrize("reader", [spans, conversation], ids=["spans", "conversation"])
def test_trace_readers_know_all_kinds(reader: Any) -> None:
    """Readers of the trace handle a kind, or ignore it on purpose."""
    assert reader.HANDLERS.keys() | reader.IGNORED_KINDS == RECORD_KINDS
    assert not reader.HANDLERS.keys() & reader.IGNORED_KINDS


def test_format_is_that_of_fingerprints() -> None:
    """The description of the graph in the first record is of the format of the records."""
    assert fingerprint.FORMAT == FORMAT

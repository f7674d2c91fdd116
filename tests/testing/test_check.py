"""`check_flow`: a sound flow passes, and a broken one fails with a seed that repeats it."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import pytest
from pydantic import BaseModel

from graphorch import Cache, Flow, Graph, InputError, Node, Retry, RunFailed, agent, append, node
from graphorch.testing import FlowBroken, ScriptedModel, check_flow, when
from tests.scenarios.flows import FLOWS, Ledger, State


class Number(BaseModel):
    n: int = 0


class Log(BaseModel):
    log: Annotated[list[str], append] = []


class Both(Number, Log): ...


AnyFlow = Flow[Both, Both, Both]


def says(name: str) -> Node[Any]:
    @node(name=name)
    async def say(number: Number) -> Log:
        return Log(log=[f"{name}{number.n}"])

    return say


@node
async def up(number: Number) -> Number:
    return Number(n=number.n + 1)


@pytest.mark.parametrize("name", FLOWS)
def test_sound_flow_passes(name: str) -> None:
    """A sound flow keeps its promises."""
    report = check_flow(
        FLOWS[name](),
        State(),
        resources=Ledger,
        runs=16,
        answers=lambda question: question.answer_type(approved=True),
    )
    assert sum(report.runs.values()) == 16
    assert report.resumed
    assert report.is_confluent


@pytest.mark.parametrize("name", ["diamond", "asked"])
def test_failing_journal_loses_nothing(name: str) -> None:
    """A journal whose calls fail loses nothing."""
    report = check_flow(
        FLOWS[name](),
        State(),
        resources=Ledger,
        runs=20,
        durable=True,
        answers=lambda question: question.answer_type(approved=True),
    )
    assert report.runs["storage"] == 4


def broken(flow: AnyFlow, **options: Any) -> FlowBroken:
    """Return the failure of a check, after its seed alone has shown it again."""
    with pytest.raises(FlowBroken) as caught:
        check_flow(flow, Both(), **options)
    with pytest.raises(FlowBroken) as again:
        check_flow(flow, Both(), **{**options, "seed": caught.value.seed, "runs": 1})
    assert (again.value.promise, again.value.seed, again.value.kind) == (
        caught.value.promise,
        caught.value.seed,
        caught.value.kind,
    )
    return caught.value


def test_racing_branches_fail_check() -> None:
    """A result that depends on the faster branch fails the check."""
    shared: list[str] = []

    def racing(name: str) -> Node[Any]:
        @node(name=name)
        async def race(number: Number) -> Log:
            shared.append(name)
            return Log(log=[f"{name} after {shared[-2:-1]}"] if len(shared) % 2 == 0 else [name])

        return race

    @node
    async def begin(number: Number) -> Number:
        shared.clear()
        return Number(n=1)

    failure = broken(Graph("g", Both).chain(begin, [racing("a"), racing("b")], says("end")).build())
    assert failure.promise == "every run ends in the same state"
    assert "'log' is" in str(failure)
    assert f"check_flow(…, seed={failure.seed}, runs=1)" in str(failure)


def test_left_task_fails_check() -> None:
    """A background task that a node leaves behind fails the check."""
    kept: list[asyncio.Task[None]] = []

    @node
    async def careless(number: Number) -> Number:
        kept.append(asyncio.create_task(asyncio.sleep(3600), name="left behind"))
        return number

    with pytest.raises(FlowBroken, match="no task is left: 1 are: left behind"):
        check_flow(Graph("g", Both).chain(careless).build(), Both())


def test_random_result_fails_check() -> None:
    """A result that depends on chance fails the check."""
    calls: list[int] = []

    @node
    async def counting(number: Number) -> Number:
        calls.append(1)
        return Number(n=len(calls))

    failure = broken(Graph("g", Both).chain(counting, says("x")).build())
    assert failure.promise == "every run ends in the same state"


def test_failing_flow_raises_own_error() -> None:
    """A flow that fails by itself raises its own error."""

    @node
    async def bad(number: Number) -> Number:
        raise ValueError("no")

    with pytest.raises(RunFailed) as caught:
        check_flow(Graph("g", Both).chain(bad).build(), Both())
    assert "ValueError: no" in str(caught.value)


def test_unanswered_question_names_option() -> None:
    """A question without an answer names the option to give."""
    with pytest.raises(
        InputError, match=r"'ask' asks a person: go on with 1\? Give check_flow answers="
    ):
        check_flow(FLOWS["asked"](), State(), resources=Ledger)


def test_runs_have_own_models() -> None:
    """Each run has a model of its own."""

    class Text(BaseModel):
        text: str = ""

    @agent(output=Text)
    def write(text: Text) -> str:
        return "Write"

    models: list[ScriptedModel] = []

    def client() -> ScriptedModel:
        models.append(ScriptedModel(when("Write", "fine", "fine", "fine")))
        return models[-1]

    check_flow(Graph("g", Text).chain(write).build(), Text(), client=client, runs=8)
    assert len(models) == 9


def test_timed_results_are_not_compared() -> None:
    """Results are not compared where timing may decide them."""
    graph = Graph("g", Both)
    end = says("end")
    graph.chain(up, [says("a"), says("b")], end)
    graph.join(end, need=1)
    assert not check_flow(graph.build(), Both(), runs=12).is_confluent


@pytest.mark.parametrize("durable", [False, True])
def test_every_node_kind_passes(durable: bool) -> None:
    """Gates, caches, retries and threads change no result.

    A node with the effect `once` is not begun again unless a person says so.
    """

    @node(effect="once")
    async def send(number: Number) -> Number:
        return Number(n=number.n + 1)

    @node(effect="idempotent", timeout=5, retry=Retry(2))
    async def put(number: Number) -> Number:
        return Number(n=number.n + 1)

    @node(gate="before", cache=Cache(ttl=60))
    async def gated(number: Number) -> Number:
        return Number(n=number.n + 1)

    @node
    def threaded(number: Number) -> Number:
        return Number(n=number.n + 1)

    flow = Graph("g", Both).chain(up, send, put, gated, threaded).build()
    assert check_flow(flow, Both(), runs=50, durable=durable).resumed > 10

"""A run that a person steps through: all commands, and the messages where one is not possible."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel

from graphorch import Approval, Budget, Context, Graph, InputError, Retry, RunFailed, agent, node
from graphorch.models import OfflineClient
from tests.debugger.stepping import AnySession, opened
from tests.scenarios.flows import (
    FLOWS,
    AnyFlow,
    Ledger,
    Log,
    Note,
    Number,
    State,
    says,
    to_the_end,
    up,
)
from tests.trace.acting import SECOND_SEND, SEND, desk
from tests.trace.acting import Topic as DeskTopic


def on(session: AnySession, item: Callable[[], object]) -> None:
    """One step inside, or the answer to what is asked."""
    if session.next:
        item()
    else:
        session.answer({"approved": True}, session.open_questions[0])


def to_end(session: AnySession, item: Callable[[], object]) -> list[str]:
    """Take steps until nothing is left, and give the states after each."""
    states: list[str] = []
    while session.next or session.open_questions:
        on(session, item)
        states.append(session.state.model_dump_json())
    return states


def same(result: Any, other: Any) -> bool:
    """Compare two runs: activations with their ids, in any order, and the state byte for byte."""
    did, did_other = (
        sorted((step.activation, step.path, step.status) for step in item.steps)
        for item in (result, other)
    )
    return did == did_other and result.state.model_dump_json() == other.state.model_dump_json()


# ---- the same run --------------------------------------------------------------------------------
@pytest.mark.parametrize("name", FLOWS)
def test_session_ends_as_run_does(name: str) -> None:
    """A run that is stepped to its end has the result of `run`."""
    was = asyncio.run(to_the_end(FLOWS[name](), "r", True, resources=Ledger()))
    for literal in ("step", "step_into", "run_until"):
        with opened(name) as session:
            to_end(session, getattr(session, literal))
            assert same(session.result, was), literal


@pytest.mark.parametrize("name", FLOWS)
def test_step_back_reaches_every_point(name: str) -> None:
    """Back to every point and forward again gives equal states."""
    with opened(name) as session:
        begin = session.state.model_dump_json()
        states = to_end(session, session.step_into)
        was = session.result
        for state in [*states[-2::-1], begin]:
            session.step_back()
            assert session.state.model_dump_json() == state
        assert session.history == []
        assert to_end(session, session.step_into) == states
        assert same(session.result, was)


def test_steps_follow_canonical_order() -> None:
    """Steps come one at a time, in an order that does not depend on timing."""
    ledger = Ledger()
    with opened("diamond", ledger) as session:
        assert session.ready == ["a", "a2"]
        assert [session.step().path for _ in range(7)] == ["a", "a2", "b", "c", "d", "e", "end"]
        assert [line.split()[0] for line in ledger.entries] == [
            "a",
            "a2",
            "b",
            "c",
            "d",
            "e",
            "end",
        ]


def test_session_opens_before_first_node() -> None:
    """Nothing of the flow has run when `debug` returns."""
    ledger = Ledger()
    with opened("chain", ledger) as session:
        assert (ledger.entries, session.status, session.next, session.history) == (
            [],
            "paused",
            "a",
            [],
        )


def test_step_into_enters_sub_flow() -> None:
    """A step runs a sub-flow as a whole, and `step_into` goes inside."""
    with opened("sub_flows") as session:
        session.step()
        assert session.next == "team"
        assert session.step().path == "team"
        assert [step.path for step in session.history][1:4] == ["team", "team/up", "team/i3"]
        session.step_back()
        assert (session.next, len(session.history)) == ("team", 1)
        step = session.step_into()
        assert (step.kind, session.next) == ("entered", "team/up")
        assert session.step().path == "team/up"
        session.step_back()
        assert session.next == "team/up"


def test_step_returns_changes_and_targets() -> None:
    """A step holds the fields that changed and the nodes that follow."""
    with opened("loop_with_join") as session:
        step = session.step()
        assert (step.changed, step.to, step.kind, step.how) == (
            {"n": (0, 1)},
            ("x", "y"),
            "done",
            "ran",
        )
        session.step()
        assert session.step().changed == {"log": ([], ["y1"])}
        assert session.step().to == ("header",)
        assert session.state.log == ["x1", "y1", "last1"]


def test_commands_work_inside_running_loop() -> None:
    """As in a notebook's cell, where an event loop runs already."""

    async def cell() -> tuple[str, str]:
        session = opened("chain")
        step = session.step()
        last = session.run_until()
        session.close()
        return step.path, last.path

    assert asyncio.run(cell()) == ("a", "d")


def test_pause_stops_after_running_step() -> None:
    """A pause from another thread ends `run_until` after its step."""
    session: AnySession

    @node
    async def again(number: Number) -> Number:
        if number.n == 2:
            session.pause()
        return Number(n=number.n + 1)

    graph = Graph("g", State).chain(again)
    graph.loop(again, back_to=again, while_=lambda s: s.n < 9, max_iterations=9)
    with graph.build().debug(State()) as session:
        session.run_until()
        assert (session.state.n, session.stop_reason, session.status) == (3, "pause", "paused")
        session.run_until()
        assert session.result.state.n == 9


# ---- changing ------------------------------------------------------------------------------------
def test_edit_replaces_last_output() -> None:
    """The run continues as if the node had returned the edited value."""
    ledger = Ledger()
    with opened("chain", ledger) as session:
        session.step()
        step = session.edit(Number(n=40))
        assert step is not None
        assert (step.how, step.changed) == ("edited", {"n": (0, 40)})
        session.edit({"note": "by hand"})
        session.run_until()
        assert (session.result.state.n, session.result.state.log, session.result.state.note) == (
            42,
            ["c41"],
            "by hand",
        )
        assert [line.split()[0] for line in ledger.entries] == ["a", "b", "c", "d"]


def test_edit_changes_route() -> None:
    """A route is decided again by the edited state."""
    with opened("routes") as session:
        assert session.step().to == ("second",)
        step = session.edit(Number(n=2))
        assert step is not None
        assert (step.to, session.next) == (("even",), "even")
        session.step_back()
        assert session.step().to == ("second",)


def test_edit_before_first_step_changes_input() -> None:
    """There is no step to edit yet, so the input changes."""
    with opened("chain") as session:
        session.edit({"n": 10})
        session.run_until()
        assert session.result.state.n == 13


def test_edit_of_failed_step_continues_run() -> None:
    """The edited output stands in place of the failure."""
    with failing().debug(State()) as session:
        session.run_until()
        assert session.status == "failed"
        session.edit(Number(n=5))
        assert session.status == "paused"
        session.run_until()
        assert session.result.state.log == ["end5"]


def failing() -> AnyFlow:
    @node
    async def bad(number: Number) -> Number:
        raise ValueError("no")

    @node(name="end")
    async def end(number: Number) -> Log:
        return Log(log=[f"end{number.n}"])

    return Graph("failing", State).chain(bad, end).build()


def test_pinned_node_does_not_run() -> None:
    """Its output is served instead."""
    ledger = Ledger()
    with opened("loop_with_join", ledger) as session:
        session.pin("header", Number(n=7))
        assert session.step().how == "pinned"
        session.pin("header", None)
        session.run_until()
        assert "header" not in [line.split()[0] for line in ledger.entries]
        assert session.result.state.n == 7


def test_pin_in_map_serves_items() -> None:
    """A pin is for all items of a map, or for the item in its path."""
    with opened("mapped") as session:
        session.pin("each/work", {"n": 9})
        session.pin("each[1]/work", Number(n=1))
        session.run_until()
        assert session.result.state.log[0] == "9+1+9+9"


# ---- going back ----------------------------------------------------------------------------------
def test_step_back_at_start_is_refused() -> None:
    """There is no point before the first one."""
    with opened("chain") as session:
        with pytest.raises(InputError, match="nothing to undo: this is where the session began"):
            session.step_back()
        session.step()
        session.step_back()
        assert session.next == "a"


def test_step_at_end_is_refused() -> None:
    """The error says why nothing can run."""
    with opened("chain") as session:
        session.run_until()
        with pytest.raises(
            InputError,
            match=r"The session is at its end, the run succeeded\. "
            r"Look at result, use step_back\(\)",
        ):
            session.step()
        session.step_back()
        assert session.step().path == "d"


def test_step_back_guards_effects() -> None:
    """Going back over a node with effect `once` is refused, repeated or served."""
    sent: list[str] = []

    @node(effect="once")
    async def send(ctx: Context, number: Number) -> Note:
        sent.append(ctx.key)
        return Note(note="sent")

    with Graph("g", State).chain(send).build().debug(State()) as session:
        session.step()
        with pytest.raises(InputError, match=r"would let 'send' act again \(effect once\)"):
            session.step_back()
        session.step_back(effects="serve")
        assert (session.step().how, session.state.note, len(sent)) == ("pinned", "sent", 1)
        session.step_back(effects="repeat")


@pytest.mark.parametrize("undone", range(1, 7))
def test_served_effects_keep_their_order(undone: int) -> None:
    """Whatever is undone of a loop, each round is served what it returned, also after an edit."""
    sent: list[str] = []

    @node(effect="once")
    async def send(ctx: Context, number: Number) -> Note:
        sent.append(ctx.key)
        return Note(note=f"receipt {len(sent)}")

    @node
    async def keep(note: Note) -> Log:
        return Log(log=[note.note])

    graph = Graph("g", State)
    graph.chain(send, keep)
    graph.loop(keep, back_to=send, while_=lambda state: True, max_iterations=3)
    with graph.build().debug(State()) as session:
        session.run_until()
        wanted = session.state.log
        assert wanted == ["receipt 1", "receipt 2", "receipt 3"]
        for _ in range(undone):
            session.step_back(effects="serve")
        session.step()
        session.step_back(effects="serve")
        if undone > 1:
            session.step()
            session.edit({})
        session.run_until()
        assert (session.state.log, len(sent)) == (wanted, 3)


def test_failed_step_runs_again() -> None:
    """After going back, a failed step can be tried again."""
    tries: list[int] = []

    @node
    async def shaky(number: Number) -> Number:
        tries.append(1)
        if len(tries) == 1:
            raise ValueError("not yet")
        return Number(n=1)

    with Graph("g", State).chain(shaky).build().debug(State()) as session:
        step = session.step()
        assert (step.kind, step.error, session.status) == (
            "failed",
            "ValueError: not yet",
            "failed",
        )
        with pytest.raises(
            InputError,
            match=r"The run failed \(failed\): 'shaky' raised ValueError: not yet\. "
            r"Use step_back\(\) to try again",
        ):
            session.step()
        with pytest.raises(RunFailed):
            session.result
        session.step_back()
        assert (session.step().kind, session.status) == ("done", "succeeded")


def test_retries_belong_to_step() -> None:
    """All attempts of a node are one step."""
    tries: list[int] = []

    @node(retry=Retry(3, first=0.001))
    async def shaky(number: Number) -> Number:
        tries.append(1)
        if len(tries) < 3:
            raise OSError("not yet")
        return Number(n=1)

    with Graph("g", State).chain(shaky).build().debug(State()) as session:
        step = session.step()
        assert (step.kind, step.attempts, len(tries)) == ("done", 3, 3)


# ---- people --------------------------------------------------------------------------------------
def test_question_waits_beside_other_branches() -> None:
    """Other branches step while a question waits for its answer."""
    with opened("asked") as session:
        session.step()
        assert session.step().kind == "asked"
        assert (session.status, session.next, len(session.open_questions)) == (
            "paused",
            "beside",
            1,
        )
        session.step()
        assert session.status == "waiting"
        assert [question.text for question in session.open_questions] == ["go on with 1?"]
        with pytest.raises(
            InputError,
            match=r"Nothing can run before a question is answered\. 'ask' asks: go on with 1\?",
        ):
            session.step()
        with pytest.raises(InputError, match=r"The Choice does not fit at approved"):
            session.answer({"approved": "perhaps"})
        answered = session.answer({"approved": True})
        assert answered is not None
        assert (answered.how, answered.changed, session.next) == (
            "answered",
            {"approved": (False, True)},
            "end",
        )
        session.step_back()
        assert session.status == "waiting"


def test_gate_waits_and_refusal_fails() -> None:
    """Gates wait before and after a node, and a refusal fails it."""

    @node(gate="before")
    async def pay(number: Number) -> Note:
        return Note(note="paid")

    @node(gate="after")
    async def ship(number: Number) -> Log:
        return Log(log=["shipped"])

    with Graph("g", State).chain(pay, ship).build().debug(State()) as session:
        assert session.step().kind == "asked"
        assert session.answer(Approval(approved=True)) is None
        assert (session.next, session.step().kind) == ("pay", "done")
        assert session.step().kind == "asked"
        step = session.answer(Approval(approved=False, reason="too late"))
        assert step is not None
        assert (step.kind, step.error, session.status) == (
            "failed",
            "Rejected: too late",
            "failed",
        )
        session.step_back()
        session.answer(Approval(approved=True))
        assert session.result.state.log == ["shipped"]


@pytest.mark.parametrize(
    "policy, kinds, status",
    [
        ("drain", "done failed done", "failed"),
        ("cancel", "done failed", "failed"),
        ("isolate", "done skipped done done", "partial"),
    ],
)
def test_failure_follows_policy(policy: Any, kinds: str, status: str) -> None:
    """Other branches drain, are cancelled, or continue."""

    @node
    async def bad(number: Number) -> Note:
        raise ValueError("no")

    flow = Graph("g", State).chain(up("a"), [bad, says("b")], says("c")).build()
    with flow.debug(State(), resources=Ledger(), on_failure=policy) as session:
        session.run_until()
        assert (" ".join(step.kind for step in session.history), session.status) == (
            kinds,
            status,
        )


def test_edits_reach_every_level() -> None:
    """Answers, and nodes inside sub-flows and maps, can be edited."""
    with opened("asked") as session:
        session.run_until()
        session.answer({"approved": True})
        session.edit({"approved": False})
        assert (session.state.approved, session.next) == (False, "end")
    with opened("sub_flows") as session:
        session.step()
        session.step_into()
        session.step()
        session.edit({"n": 99})
        assert session.current_scope is not None
        assert (
            session.current_scope[0],
            session.current_scope[1].model_dump()["n"],
            session.state.n,
        ) == (
            "team",
            99,
            1,
        )
    with opened("mapped") as session:
        session.step()
        session.step_into()
        session.step()
        session.edit({"result": {"n": 77}})
        session.run_until()
        assert session.result.state.log[0] == "77+2+3+4"


# ---- forks ---------------------------------------------------------------------------------------
def test_fork_leaves_first_session() -> None:
    """A fork continues by itself, and the first session stays."""
    with opened("chain") as session:
        session.step()
        fork = session.fork()
        fork.edit(Number(n=50))
        fork.run_until()
        assert (session.next, session.state.n) == ("b", 1)
        session.run_until()
        assert (fork.result.state.n, session.result.state.n) == (52, 3)
        assert fork.run_id != session.run_id
        assert fork.difference.fields == {"n": (3, 52), "log": (["c2"], ["c51"])}
        fork.step_back()
        assert fork.next == "d"
        fork.close()


def test_rerun_shows_difference() -> None:
    """A rerun runs one activation again and shows what that changes."""
    with opened("chain") as session:
        session.run_until()
        again = session.rerun("b", output=Number(n=30))
        assert (again.next, again.state.n, again.history[-1].how) == ("c", 30, "pinned")
        again.run_until()
        assert again.difference.fields == {"n": (3, 31), "log": (["c2"], ["c30"])}
        assert session.result.state.n == 3
        again.close()


class Topic(BaseModel):
    topic: str


class Text(BaseModel):
    text: str = ""


class Words(Topic, Text): ...


def test_rerun_calls_other_model() -> None:
    """The other model is called, and steps hold their calls."""

    @agent(output=Text, model="vendor/first")
    def write(topic: Topic) -> str:
        return f"Write about {topic.topic}. The tide rises twice a day. The moon pulls the water."

    with (
        Graph("g", Words, input=Topic)
        .chain(write)
        .build()
        .debug(Topic(topic="tides"), budget=Budget(calls=5), client=OfflineClient()) as session
    ):
        (call,) = session.step().calls
        assert "Write about tides" in call.messages[-1].content
        assert call.response is not None
        assert call.response.usage.input_tokens > 0
        again = session.rerun(model="vendor/second")
        assert len(again.history[-1].calls) == 1
        assert (
            session.history[-1].tokens
            == call.response.usage.input_tokens + call.response.usage.output_tokens
        )
        again.close()


# ---- several, and wrong ones ---------------------------------------------------------------------
def test_sessions_are_independent() -> None:
    """Two sessions of one flow do not disturb each other."""
    flow = FLOWS["chain"]()
    with (
        flow.debug(State(), resources=Ledger()) as session,
        flow.debug(State(n=10), resources=Ledger()) as other,
    ):
        session.step()
        other.run_until()
        assert (session.state.n, other.result.state.n) == (1, 13)


def test_debug_refuses_journal_and_wrong_input() -> None:
    """A session keeps its run in memory, and checks its input at once."""
    flow = FLOWS["chain"]()
    with pytest.raises(InputError, match="debug\\(\\) keeps its run in memory"):
        flow.debug(State(), durable=True, resources=Ledger())
    with pytest.raises(InputError, match="Flow 'chain' takes a State, got int"):
        flow.debug(3, resources=Ledger())  # pyright: ignore


def test_tool_calls_are_steps() -> None:
    """An agent is entered, and each of its calls is a step; its last step has what it wrote."""
    with desk().debug(DeskTopic(), client=OfflineClient()) as session:
        session.step_into()
        assert (session.history[0].kind, session.next) == ("entered", "write/r1/search#0")
        while session.next:
            session.step_into()
        assert [(step.path, step.kind, step.outcome) for step in session.history[1:]] == [
            ("write/r1/search#0", "done", "ok"),
            ("write/r1/search#1", "done", "failed"),
            ("write/r1/note#3", "done", "ok"),
            (SEND, "asked", ""),
            (SECOND_SEND, "asked", ""),
        ]
        assert session.history[1].arguments == {"query": "tides"}
        changed = {"to": "ann", "body": "at one"}
        session.answer({"approved": True, "arguments": changed}, SEND)
        session.answer({"approved": False, "reason": "no"}, SECOND_SEND)
        while session.next:
            session.step()
        sent = next(step for step in session.history if step.path == SEND and step.kind == "done")
        assert sent.arguments == changed
        assert session.status == "succeeded"
        assert session.result.output.words


def test_agent_with_tools_is_one_step() -> None:
    """A step over an agent runs its calls too, as far as people need not decide."""
    with desk().debug(DeskTopic(), client=OfflineClient()) as session:
        session.step()
        assert (session.status, len(session.open_questions)) == ("waiting", 2)
        for question in session.open_questions:
            session.answer({"approved": False, "answer": "by hand"}, question)
        # The last call waited for those before it; with it the agent is done.
        assert session.next == "write/r2/search#2"
        session.step()
        last = session.history[-1]
        assert (last.path, last.kind, session.next) == ("write", "done", "count")
        assert sum(step.tokens for step in session.history) == session.controller.spent.tokens
        session.step_back()
        assert session.next == "write/r2/search#2"
        session.step()
        assert session.step().path == "count"


def test_calls_of_tools_are_no_places() -> None:
    """A breakpoint, a pin and a rerun take a node: the message names the agent of a call."""
    with desk().debug(DeskTopic(), client=OfflineClient()) as session:
        with pytest.raises(InputError, match="Name 'write', and step into it"):
            session.break_at("write/r1/search#0")
        session.step()
        with pytest.raises(InputError, match="Start at 'write'"):
            session.rerun("write/r1/search#0")

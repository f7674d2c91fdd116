"""Approvals of tool calls: in every order, with every decision, and a new program between each."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from graphorch import Approval, InputError, QuestionClosed, ReplayDiverged, ToolApproval, tool
from graphorch.journal.memory import MemoryStore
from graphorch.journal.records import NewRun, RunLog
from graphorch.testing import run_virtual
from tests.engine.tool_calls.test_loop import Model, Topic, flow_of

KINDS = ("plain", "pure", "once", "concurrent", "barrier")
"""Calls without approval, calls with one, and a call without that has its turn alone."""

DECISIONS: dict[str, Approval] = {
    "approve": ToolApproval(approved=True),
    "plain approve": Approval(approved=True),
    "edit": ToolApproval(approved=True, arguments={"number": 77}),
    "refuse": ToolApproval(approved=False, reason="too dear"),
    "answer": ToolApproval(approved=False, answer="it is five"),
}


FOUR = ("approve", "edit", "refuse", "answer")


@dataclass
class Till:
    """What the tools did, and the flow that a program builds of them."""

    acted: list[str] = field(default_factory=list[str])

    def build(self) -> Any:
        """Return a new flow, as a new program would."""

        def make(name: str, **options: Any) -> Any:
            def act(number: int) -> str:
                self.acted.append(f"{name} {number}")
                return f"{name} did {number}"

            return tool(name=name, **options)(act)

        return flow_of(
            make("plain", effect="pure"),
            make("pure", effect="pure", approve=True),
            make("once", approve=True),
            make("concurrent", approve=True, concurrent=True),
            make("barrier"),
        )


@dataclass(frozen=True)
class Outcome:
    """What became of a run: its output, what the model read, and what the tools did, sorted."""

    draft: str
    prompts: list[str]
    acted: list[str]


async def answer_all(
    kinds: Sequence[str], decisions: Sequence[str], order: Sequence[int], *, restarts: bool
) -> Outcome:
    """Run a round of calls, and decide about the n-th question as `decisions[n]`, in an order."""
    till, store = Till(), MemoryStore()
    model = Model([(kind, f'{{"number": {n}}}') for n, kind in enumerate(kinds)], "done")
    flow, options = till.build(), {"client": model, "durable": store}
    result = await flow.run(Topic(), run_id="r", **options)
    asked = [question.path for question in result.questions]
    assert asked == [
        f"write/r1/{kind}#{n}" for n, kind in enumerate(kinds) if kind not in ("plain", "barrier")
    ]
    for number in order:
        assert result.status == "waiting"
        question = next(item for item in result.questions if item.path == asked[number])
        flow = till.build() if restarts else flow
        result = await flow.answer("r", question, DECISIONS[decisions[number]], **options)
    assert result.status == "succeeded"
    replayed = await till.build().replay("r", durable=store)
    assert replayed.output == result.output
    prompts = [repr(request.messages) for request in model.asked]
    return Outcome(result.output.draft, prompts, sorted(till.acted))


@pytest.mark.parametrize("count", [1, 2, 3])
def test_every_order_of_answers_is_the_same(count: int) -> None:
    """Approvals of mixed calls, in every order and with a restart between each, end the same."""
    kinds = ["plain", "once", "pure", "barrier", "concurrent", "plain"][: 2 * count]
    asking = [kind for kind in kinds if kind not in ("plain", "barrier")]
    decisions = ["approve", "edit", "refuse"][: len(asking)]
    wanted = run_virtual(answer_all(kinds, decisions, range(len(asking)), restarts=False))
    for order in itertools.permutations(range(len(asking))):
        assert run_virtual(answer_all(kinds, decisions, order, restarts=True)) == wanted


@settings(max_examples=15, deadline=None)
@given(st.data())
def test_order_of_answers_never_shows(data: st.DataObject) -> None:
    """Whatever is asked and decided, up to four questions: the order and restarts do not matter."""
    kinds = data.draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=7))
    asking = [kind for kind in kinds if kind not in ("plain", "barrier")]
    assume(len(asking) <= 4)
    decisions = [data.draw(st.sampled_from(list(DECISIONS))) for _ in asking]
    order = data.draw(st.permutations(range(len(asking))))
    wanted = run_virtual(answer_all(kinds, decisions, range(len(asking)), restarts=False))
    assert run_virtual(answer_all(kinds, decisions, order, restarts=True)) == wanted


@pytest.mark.slow
@pytest.mark.parametrize(
    "decisions", [*itertools.permutations(FOUR), *((each,) * 4 for each in FOUR)]
)
def test_all_decisions_in_all_orders(decisions: Sequence[str]) -> None:
    """All decisions about four calls, in all orders of answers, with a restart between each."""
    kinds = ["once", "plain", "pure", "barrier", "once", "concurrent"]
    wanted = run_virtual(answer_all(kinds, decisions, range(4), restarts=False))
    for order in itertools.permutations(range(4)):
        assert run_virtual(answer_all(kinds, decisions, order, restarts=True)) == wanted


# ---- answers that do not fit ---------------------------------------------------------------------
WRONG: list[tuple[Any, str]] = [
    (ToolApproval(approved=True, arguments={}), "number: Field required"),
    (ToolApproval(approved=True, arguments={"number": "x"}), "number: Input should be a valid int"),
    (ToolApproval(approved=True, arguments={"number": 1, "to": "x"}), "to: Extra inputs are not"),
    (Topic(), "asks for a ToolApproval, got Topic"),
]


@pytest.mark.parametrize(("decision", "expected"), WRONG)
@pytest.mark.parametrize("restarts", [False, True])
def test_wrong_decision_is_refused(decision: Any, expected: str, restarts: bool) -> None:
    """A decision that does not fit the tool is refused with one message, and may be mended."""

    async def main() -> None:
        till, store = Till(), MemoryStore()
        model = Model([("once", '{"number": 1}')], "done")
        flow = till.build()
        options: Any = {"client": model, "durable": store}
        result = await flow.run(Topic(), run_id="r", **options)
        flow = till.build() if restarts else flow
        for _ in range(2):
            with pytest.raises(InputError) as caught:
                await flow.answer("r", result.questions[0], decision, **options)
            assert expected in str(caught.value)
            assert str(caught.value).count("write/r1/once#0") == 1
            assert "\n" not in str(caught.value)
        assert till.acted == []
        result = await flow.answer("r", result.questions[0], DECISIONS["edit"], **options)
        assert (result.status, till.acted) == ("succeeded", ["once 77"])
        assert model.results == [
            '(A person changed the arguments of this call to {"number": 77}.)\nonce did 77'
        ]

    run_virtual(main())


@pytest.mark.parametrize("first", list(DECISIONS))
@pytest.mark.parametrize("is_last", [False, True])
def test_question_is_answered_once(first: str, is_last: bool) -> None:
    """A second answer to a question is refused, whatever the first was, and changes nothing."""

    async def main() -> None:
        till, store = Till(), MemoryStore()
        calls = [("once", '{"number": 1}'), ("pure", '{"number": 2}')][: 1 if is_last else 2]
        options: Any = {"client": Model(calls, "done"), "durable": store}
        result = await till.build().run(Topic(), run_id="r", **options)
        question = result.questions[0]
        await till.build().answer("r", question, DECISIONS[first], **options)
        acted, records = list(till.acted), len((await store.load("r")).records)
        for second in (DECISIONS["approve"], DECISIONS["answer"]):
            with pytest.raises(QuestionClosed) as caught:
                await till.build().answer("r", question, second, **options)
            assert "write/r1/once#0" in str(caught.value)
        assert (till.acted, len((await store.load("r")).records)) == (acted, records)

    run_virtual(main())


# ---- an altered journal --------------------------------------------------------------------------
async def copy_altered(log: RunLog, alter: Any) -> MemoryStore:
    """Return a store with the records of a run, as `alter` makes them, and a chain that fits."""
    store, head = MemoryStore(), log.head
    new = NewRun(head.run_id, head.flow, head.fingerprint, head.format, tags=head.tags)
    await store.create(new)
    lease = await store.claim(head.run_id, "writer", ttl=30)
    records = [replace(record, body=alter(record.kind, record.body)) for record in log.records]
    await store.append(lease, records, expected_last_seq=0, status=head.status)
    await store.release(lease)
    return store


def _change_arguments(kind: str, body: Any) -> Any:
    """Return a body in which the call has other arguments than those that were asked about."""
    if kind != "tools":
        return body
    return {**body, "calls": [{**call, "arguments": {"number": 99}} for call in body["calls"]]}


def _change_tool(kind: str, body: Any) -> Any:
    if kind != "tools":
        return body
    return {**body, "calls": [{**call, "tool": "barrier"} for call in body["calls"]]}


def _drop_question(kind: str, body: Any) -> Any:
    if kind != "tools":
        return body
    return {**body, "calls": [{**call, "asks": False} for call in body["calls"]]}


@pytest.mark.parametrize("alter", [_change_arguments, _change_tool])
@pytest.mark.parametrize("is_approved", [False, True])
def test_altered_arguments_are_refused(alter: Any, is_approved: bool) -> None:
    """What was approved is what runs: with other arguments in the journal, the run does not go on.

    The id of a call is a hash of the tool and its arguments, so no record about it fits any more.
    """

    async def main() -> None:
        till, store = Till(), MemoryStore()
        calls = [("once", '{"number": 1}'), ("pure", '{"number": 2}')]
        options: Any = {"client": Model(calls, "done")}
        result = await till.build().run(Topic(), run_id="r", durable=store, **options)
        if is_approved:
            await till.build().answer(
                "r", result.questions[0], DECISIONS["approve"], durable=store, **options
            )
        acted = list(till.acted)
        altered = await copy_altered(await store.load("r"), alter)
        for act in (
            lambda: till.build().resume("r", durable=altered, **options),
            lambda: till.build().replay("r", durable=altered),
            lambda: till.build().answer(
                "r", result.questions[1], DECISIONS["approve"], durable=altered, **options
            ),
        ):
            with pytest.raises(ReplayDiverged) as caught:
                await act()
            assert re.search(r"Record \d+", str(caught.value))
        assert till.acted == acted

    run_virtual(main())


def test_dropped_question_is_not_passed() -> None:
    """A journal that says that a call need not ask does not make it run unasked."""

    async def main() -> None:
        till, store = Till(), MemoryStore()
        options: Any = {"client": Model([("once", '{"number": 1}')], "done")}
        await till.build().run(Topic(), run_id="r", durable=store, **options)
        altered = await copy_altered(await store.load("r"), _drop_question)
        result = await till.build().resume("r", durable=altered, **options)
        assert (result.status, till.acted) == ("waiting", [])

    run_virtual(main())

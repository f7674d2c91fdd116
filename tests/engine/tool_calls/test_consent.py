"""A tool that asks for consent when it is called: what the person sees, and what is called then."""

from __future__ import annotations

from typing import Any, cast

import pytest

from graphorch import Context, ToolApproval, tool
from graphorch.errors import NeedsConsent
from graphorch.journal.memory import MemoryStore
from graphorch.testing import run_virtual
from tests.engine.questions.asking_flows import Heard
from tests.engine.tool_calls.test_loop import Model, Topic, flow_of

YES = ToolApproval(approved=True)


def build(paid: list[int]) -> Any:
    """Build a flow whose tool is approved, and then wants consent to what it has become."""

    @tool(approve=True)
    def pay(ctx: Context, number: int) -> str:
        if cast("Any", ctx).consent != "new":
            raise NeedsConsent("The tool is another one now.", consent="new")
        paid.append(number)
        return f"paid {number}"

    return flow_of(pay)


@pytest.mark.parametrize("is_durable", [False, True])
def test_consent_is_asked_with_changed_arguments(is_durable: bool) -> None:
    """Who agrees to a changed tool sees what it is called with, also if a person changed that.

    A hook hears of both questions; a replay and a resume give the same.
    """
    paid, heard = list[int](), Heard()
    flow = build(paid)
    model = Model([("pay", '{"number": 900}')], "done")
    store: Any = MemoryStore() if is_durable else False

    async def main() -> None:
        options: dict[str, Any] = {"durable": store, "client": model, "on_question": heard}
        waiting = await flow.run(Topic(), run_id="r", **options)
        less = ToolApproval(approved=True, arguments={"number": 90})
        asked = await flow.answer("r", waiting.questions[0], less, **options)
        (question,) = asked.questions
        assert question.text.startswith("The tool is another one now.")
        assert '"number": 90\n' in question.text
        assert question.id == waiting.questions[0].id
        if is_durable:
            (question,) = (await build(paid).resume("r", **options)).questions
            assert '"number": 90\n' in question.text
        done = await flow.answer("r", question, YES, **options)
        assert done.output.draft == "done"
        if is_durable:
            assert (await flow.replay("r", durable=store)).output == done.output

    run_virtual(main())
    assert paid == [90]
    note = '(A person changed the arguments of this call to {"number": 90}.)'
    assert model.results == [f"{note}\npaid 90"]
    path = "write/r1/pay#0"
    assert heard.lines == [f"{path} opened", f"{path} answered"] * 2

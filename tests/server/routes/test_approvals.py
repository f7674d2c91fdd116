"""Approvals of calls of tools over the API, and signals."""

from __future__ import annotations

import asyncio
from pathlib import Path

from pydantic import BaseModel

from graphorch import Graph, agent, tool
from graphorch.runs.options import RunOptions
from graphorch.testing.models import ScriptedModel, call
from tests.server.asking import Letter, Topic, begin, give, wait_for, write
from tests.server.serving import AnyFlow, application


class Payment(BaseModel):
    cents: int = 0
    payer: str = ""


class State(Topic, Letter): ...


class Paying(Topic, Letter, Payment): ...


def build_refunds(paid: list[int]) -> AnyFlow:
    """Return a flow whose model calls a tool that a person approves."""

    @tool(effect="once", approve=True)
    def refund(cents: int) -> str:
        """Pay money back."""
        paid.append(cents)
        return f"paid {cents}"

    @agent(output=Letter, tools=[refund], model="openai/gpt-5-mini", instructions="Help.")
    def help_customer(topic: Topic) -> str:
        return topic.topic

    return Graph("refunds", State, input=Topic, output=Letter).chain(help_customer).build()


def test_call_runs_with_approved_arguments(tmp_path: Path) -> None:
    """An approval shows what will run; changed arguments are checked, and run if they fit."""
    paid: list[int] = []

    async def main() -> None:
        options = RunOptions(
            client=ScriptedModel(call("refund", {"cents": 700}), Letter(letter="done"))
        )
        async with application(tmp_path, build_refunds(paid), options=options) as ask:
            run_id = await begin(ask, "refunds")
            (row,) = (await ask("GET", "/api/inbox")).value["questions"]
            question = row["question"]
            assert (question["kind"], question["tool"]) == ("call", "refund")
            assert (question["arguments"], question["effect"]) == ({"cents": 700}, "once")
            assert row["usage"]["calls"] == 1
            assert row["previous"] is None
            wrong = await give(ask, run_id, question, approved=True, arguments={"cents": "much"})
            assert wrong.status == 422, wrong
            assert paid == []
            both = await give(ask, run_id, question, approved=True, answer="no")
            assert both.status == 422
            given = await give(ask, run_id, question, approved=True, arguments={"cents": 70})
            assert given.status == 202, given
            await wait_for(ask, run_id, "succeeded")

    asyncio.run(main())
    assert paid == [70]


def build_payments() -> AnyFlow:
    graph = Graph("payments", Paying, input=Topic, output=Payment)
    paid = graph.signal("paid", Payment)
    return graph.chain(write, paid).build()


def test_signal_lets_run_go_on(tmp_path: Path) -> None:
    """A signal is checked, stored and counted once by its id, and the run goes on with it."""

    async def main() -> None:
        async with application(tmp_path, build_payments()) as ask:
            run_id = await begin(ask, "payments")
            path = f"/api/runs/{run_id}/signals"
            bad = await ask("POST", path, {"signal": "paid", "payload": {"cents": "x"}})
            assert bad.value["mistakes"][0]["where"] == "/payload/cents"
            unknown = await ask("POST", path, {"signal": "payed"})
            assert (unknown.status, unknown.problem) == (422, "input")
            assert "paid" in unknown.value["detail"]
            body = {"signal": "paid", "payload": {"cents": 5, "payer": "me"}, "id": "7"}
            sent = await asyncio.gather(*(ask("POST", path, body) for _ in range(3)))
            assert {answer.status for answer in sent} <= {202, 409}, sent
            assert sent[0].status == 202
            page = await wait_for(ask, run_id, "succeeded")
            assert page["output"] == {"cents": 5, "payer": "me"}
            late = await ask("POST", path, {**body, "id": "8"})
            assert (late.status, late.problem) == (409, "run-over")

    asyncio.run(main())

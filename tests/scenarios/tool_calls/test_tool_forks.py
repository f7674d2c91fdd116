"""Forks, reruns and replays of runs whose agents have tools: what is served, what acts again."""

from __future__ import annotations

from typing import Any

import pytest

from graphorch import Flow, Graph, InputError, Retry, RunFailed, ToolApproval, agent, node, tool
from graphorch.journal.memory import MemoryStore
from graphorch.testing import run_virtual
from tests.engine.tool_calls.test_loop import Draft, Found, Model, State, Topic

ROUNDS = [[("send", '{"to": "a"}'), ("look", '{"at": "b"}')], [("send", '{"to": "c"}')], "done"]


class Shop:
    """Tools that keep what they did, and a flow with nodes before and after their agent."""

    def __init__(self, *, approve: bool = False) -> None:
        self.did: list[str] = []
        self.store = MemoryStore()
        self._approve = approve

    def build(self) -> Flow[Topic, Draft, State]:
        @tool(approve=self._approve)
        def send(to: str) -> str:
            self.did.append(f"send {to}")
            return f"sent to {to}, number {len(self.did)}"

        @tool(effect="pure")
        def look(at: str) -> str:
            self.did.append(f"look {at}")
            return f"looked at {at}"

        @node
        async def before(t: Topic) -> Topic:
            return Topic(topic=t.topic.strip())

        @agent(output=Draft, tools=[send, look], name="write")
        def write(t: Topic) -> str:
            return f"write about {t.topic}"

        @node
        async def after(draft: Draft) -> Draft:
            return Draft(draft=draft.draft + "!")

        graph = Graph("shop", State, input=Topic, output=Draft)
        return graph.chain(before, write, after).build()

    async def run(self, model: Model) -> Flow[Topic, Draft, State]:
        flow = self.build()
        result = await flow.run(Topic(), run_id="r", durable=self.store, client=model)
        while result.status == "waiting":
            approved = ToolApproval(approved=True)
            result = await flow.answer(
                "r", result.questions[0], approved, durable=self.store, client=model
            )
        return flow


def test_replay_calls_nothing() -> None:
    """A replay of a tool loop calls no tool and no model, and has the same end."""

    async def main() -> None:
        shop, model = Shop(), Model(*ROUNDS)
        flow = await shop.run(model)
        did, asked = list(shop.did), len(model.asked)
        replayed = await shop.build().replay("r", durable=shop.store)
        assert replayed.output == Draft(draft="done!")
        assert (shop.did, len(model.asked)) == (did, asked)
        assert flow.name == "shop"

    run_virtual(main())


def test_fork_after_agent_keeps_its_calls() -> None:
    """A fork that starts after the agent takes over its calls: nothing in it acts again."""

    async def main() -> None:
        shop, model = Shop(), Model(*ROUNDS)
        flow = await shop.run(model)
        did, asked = list(shop.did), len(model.asked)
        again = await flow.rerun("r", start="after", durable=shop.store, client=model)
        assert again.result.output == Draft(draft="done!")
        assert (shop.did, len(model.asked)) == (did, asked)
        fork = await flow.fork("r", start="after", durable=shop.store)
        result = await shop.build().resume(fork, durable=shop.store, client=model)
        assert result.output == Draft(draft="done!")
        assert (shop.did, len(model.asked)) == (did, asked)
        assert (await flow.replay(fork, durable=shop.store)).output == result.output

    run_virtual(main())


@pytest.mark.parametrize("start", ["before", "write"])
def test_rerun_does_not_repeat_effects(start: str) -> None:
    """A rerun from the agent, or before it, is refused while it would act again unasked."""

    async def main() -> None:
        shop, model = Shop(), Model(*ROUNDS)
        flow = await shop.run(model)
        did = list(shop.did)
        with pytest.raises(InputError) as caught:
            await flow.rerun("r", start=start, durable=shop.store, client=model)
        assert "'write/r1/send#0' (once), 'write/r2/send#0' (once)" in str(caught.value)
        assert shop.did == did

    run_virtual(main())


@pytest.mark.parametrize("start", ["before", "write"])
def test_rerun_serves_effects(start: str) -> None:
    """A rerun serves equal calls what they returned; those that are pure run again."""

    async def main() -> None:
        shop, model = Shop(), Model(*ROUNDS)
        flow = await shop.run(model)
        results = list(model.results)
        again = await flow.rerun(
            "r", start=start, durable=shop.store, client=model, effects="serve", run_id="again"
        )
        assert again.result.output == Draft(draft="done!")
        assert shop.did == ["send a", "look b", "send c", "look b"]
        assert model.results == results
        replayed = await shop.build().replay("again", durable=shop.store)
        assert replayed.output == again.result.output

    run_virtual(main())


def test_rerun_serves_equal_calls_wherever_they_are() -> None:
    """Served is what is equal in tool and arguments, in whatever round or order; all else runs."""

    async def main() -> None:
        shop = Shop()
        flow = await shop.run(Model(*ROUNDS))
        others = [("send", '{"to":"c"}'), ("send", '{"to": "d"}'), ("send", '{"to": "a"}')]
        model = Model(others, [("send", '{"to": "c"}')], "else")
        again = await flow.rerun(
            "r", start="write", durable=shop.store, client=model, effects="serve"
        )
        assert again.result.output == Draft(draft="else!")
        assert shop.did == ["send a", "look b", "send c", "send d"]
        assert model.results == [
            "sent to c, number 3",
            "sent to d, number 4",
            "sent to a, number 1",
            "sent to c, number 3",
        ]

    run_virtual(main())


def test_served_rerun_that_stops_serves_the_rest() -> None:
    """A rerun that fails half-way and is resumed, in a new program, still serves its effects."""

    async def main() -> None:
        shop = Shop()
        flow = await shop.run(Model(*ROUNDS))

        class Failing(Model):
            async def complete(self, request: Any, on_text: Any = None) -> Any:
                if sum(message.role == "assistant" for message in request.messages) == 1:
                    raise OSError("down")
                return await super().complete(request, on_text)

        with pytest.raises(RunFailed):
            await flow.rerun(
                "r", start="write", durable=shop.store, client=Failing(*ROUNDS),
                effects="serve", run_id="again",
            )  # fmt: skip
        result = await shop.build().resume("again", durable=shop.store, client=Model(*ROUNDS))
        assert result.output == Draft(draft="done!")
        assert shop.did == ["send a", "look b", "send c", "look b"]

    run_virtual(main())


def test_refused_call_is_no_effect() -> None:
    """A call that a person refused, or answered, did not act: a rerun from there asks again."""

    async def main() -> None:
        shop, model = Shop(approve=True), Model([("send", '{"to": "a"}')], "done")
        flow, options = shop.build(), {"client": model, "durable": shop.store}
        result = await flow.run(Topic(), run_id="r", **options)
        refusal = ToolApproval(approved=False, reason="no")
        await flow.answer("r", result.questions[0], refusal, **options)
        again = await flow.rerun("r", start="write", **options)
        assert again.result.status == "waiting"
        assert shop.did == []

    run_virtual(main())


def test_edited_call_is_served_by_what_ran() -> None:
    """A call whose arguments a person changed is equal to one with the arguments that it ran with.

    The rerun asks again, and the answer decides which call it is.
    """

    async def main() -> None:
        shop, model = Shop(approve=True), Model([("send", '{"to": "a"}')], "done")
        flow = shop.build()
        options: Any = {"client": model, "durable": shop.store}
        result = await flow.run(Topic(), run_id="r", **options)
        edit = ToolApproval(approved=True, arguments={"to": "z"})
        await flow.answer("r", result.questions[0], edit, **options)
        assert shop.did == ["send z"]
        again = await flow.rerun("r", start="write", effects="serve", run_id="again", **options)
        assert again.result.status == "waiting"
        await shop.build().answer("again", again.result.questions[0], edit, **options)
        assert shop.did == ["send z"]

    run_virtual(main())


@pytest.mark.parametrize("start", ["write/r1/send#0", "send#0", "write/r2/send#0"])
def test_nothing_starts_at_a_call(start: str) -> None:
    """A call of a tool is no place to start at, and the message says where to."""

    async def main() -> None:
        shop = Shop()
        flow = await shop.run(Model(*ROUNDS))
        with pytest.raises(InputError) as caught:
            await flow.fork("r", start=start, durable=shop.store)
        assert "Start at 'write'" in str(caught.value)
        with pytest.raises(InputError) as caught:
            await flow.fork("r", start="wite", durable=shop.store)
        assert "send" not in str(caught.value)

    run_virtual(main())


def test_fork_beside_open_agent_keeps_its_rounds() -> None:
    """A fork that starts in another branch takes over an agent that was retried and waits.

    Its rounds are made, so neither its model nor its tools are asked for them again.
    """

    async def main() -> None:
        store, did, failures = MemoryStore(), list[str](), [OSError("down")]

        @tool
        def send(to: str) -> str:
            did.append(to)
            return "sent"

        @tool(approve=True)
        def pay(to: str) -> str:
            did.append(f"pay {to}")
            return "paid"

        @agent(output=Draft, tools=[send, pay], name="write", retry=Retry(attempts=2))
        def write(t: Topic) -> str:
            return t.topic

        @node
        async def beside(t: Topic) -> Found:
            return Found(place=t.topic)

        class Failing(Model):
            async def complete(self, request: Any, on_text: Any = None) -> Any:
                response = await super().complete(request, on_text)
                if len(request.messages) > 1 and failures:
                    raise failures.pop()
                return response

        flow = Graph("shop", State, input=Topic, output=State).chain([write, beside]).build()
        model = Failing([("send", '{"to": "a"}')], [("pay", '{"to": "b"}')], "done")
        options: Any = {"durable": store, "client": model}
        result = await flow.run(Topic(), run_id="r", **options)
        assert (result.status, did, len(model.asked)) == ("waiting", ["a"], 3)
        fork = await flow.fork("r", start="beside", durable=store)
        result = await flow.resume(fork, **options)
        assert (result.status, did, len(model.asked)) == ("waiting", ["a"], 3)
        yes = ToolApproval(approved=True)
        result = await flow.answer(fork, result.questions[0], yes, **options)
        assert (result.status, did, len(model.asked)) == ("succeeded", ["a", "pay b"], 4)

    run_virtual(main())

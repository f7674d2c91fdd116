"""Calls of a hook run beside the run: they neither hold it up nor fail it, and none is lost."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from graphorch import InputError, QuestionEvent, RunFailed, node
from graphorch.journal.memory import MemoryStore
from graphorch.testing import run_virtual
from tests.engine.questions.asking_flows import (
    YES,
    Case,
    Done,
    Heard,
    Topic,
    Verdict,
    build_ask,
    build_map,
    new_graph,
)

FLOW = build_ask()
GIVEN_UP = "on_question was called when question 'ask' of run r was opened, and given up"
durables = pytest.mark.parametrize("is_durable", [False, True])


def open_place(is_durable: bool) -> Any:
    """Return the `durable` option of a run: none, or a store in memory."""
    return MemoryStore() if is_durable else False


def now() -> float:
    return asyncio.get_running_loop().time()


# ---- kinds of functions --------------------------------------------------------------------------
class Mailer:
    """A hook with a plain method, an async method and an async call."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.threads: set[int] = set()

    def send(self, event: QuestionEvent) -> None:
        self.threads.add(threading.get_ident())
        self.sent.append(event.kind)

    async def send_soon(self, event: QuestionEvent) -> None:
        await asyncio.sleep(1)
        self.send(event)

    async def __call__(self, event: QuestionEvent) -> None:
        await self.send_soon(event)


@pytest.mark.parametrize("kind", ["plain", "async", "object", "partial", "lambda"])
def test_functions_of_every_kind_are_called(kind: str) -> None:
    """A hook is a plain function, an async one, or whatever gives something to await."""
    mailer = Mailer()
    hooks: dict[str, Any] = {
        "plain": mailer.send,
        "async": mailer.send_soon,
        "object": mailer,
        "partial": partial(mailer.send_soon),
        "lambda": lambda event: mailer.send_soon(event),  # pyright: ignore[reportUnknownLambdaType]
    }

    async def main() -> None:
        await FLOW.run(Case(), run_id="r", on_question=hooks[kind])
        assert mailer.sent == ["opened"]
        await FLOW.answer("r", "ask", YES)

    run_virtual(main())
    assert mailer.sent == ["opened", "answered"]
    # A plain function may block, so it never runs on the thread of the event loop.
    assert (threading.get_ident() in mailer.threads) == (kind != "plain")


def test_wrong_hook_is_refused() -> None:
    """What can never be told anything is refused before the run begins."""

    def produce(event: QuestionEvent) -> Iterator[None]:
        yield

    def takes_two(first: QuestionEvent, second: int) -> None: ...

    wrongs: dict[Any, str] = {
        "mail": "on_question has to be a function, plain or async; got 'mail'",
        produce: "on_question has to be a function, plain or async",
        takes_two: "'takes_two' cannot be called with one argument: missing a required argument",
    }
    for wrong, message in wrongs.items():
        with pytest.raises(InputError, match=message):
            FLOW.run_sync(Case(), on_question=wrong)


# ---- beside the run ------------------------------------------------------------------------------
@durables
def test_slow_hook_does_not_hold_up_run(is_durable: bool) -> None:
    """Nodes go on while a message is on its way; the run ends once it has arrived."""
    times: dict[str, float] = {}
    graph = new_graph()

    @node
    async def work(topic: Topic) -> Done:
        times["worked"] = now()
        return Done(done=["worked"])

    @node
    async def work_on(done: Done) -> Done:
        times["worked on"] = now()
        return Done(done=["worked on"])

    graph.chain(graph.ask("ask", question=lambda s: "go?", answer=Verdict))
    graph.chain(work, work_on)
    flow = graph.build()

    async def tell(event: QuestionEvent) -> None:
        await asyncio.sleep(20)
        times[event.kind] = now()

    async def main() -> None:
        await flow.run(Case(), durable=open_place(is_durable), on_question=tell)
        times["returned"] = now()

    run_virtual(main())
    assert (times["worked"], times["worked on"]) == (0.0, 0.0)
    assert (times["opened"], times["returned"]) == (20.0, 20.0)


def test_blocking_hook_does_not_hold_up_loop() -> None:
    """A plain function that blocks has a thread of its own."""
    released = threading.Event()

    @node
    async def work(topic: Topic) -> Done:
        await asyncio.sleep(0)
        released.set()
        return Done(done=["worked"])

    graph = new_graph()
    graph.chain(graph.ask("ask", question=lambda s: "go?", answer=Verdict))
    graph.chain(work)
    asked: list[bool] = []
    flow = graph.build()
    asyncio.run(flow.run(Case(), on_question=lambda event: asked.append(released.wait(10))))
    assert asked == [True]


@durables
def test_hanging_call_is_given_up(is_durable: bool, caplog: pytest.LogCaptureFixture) -> None:
    """The end of a run waits 30 seconds for its messages; those that are lost are in the log."""

    async def hang(event: QuestionEvent) -> None:
        await asyncio.sleep(3600)

    async def main() -> None:
        await FLOW.run(Case(), run_id="r", durable=open_place(is_durable), on_question=hang)
        assert now() == 30.0

    run_virtual(main())
    assert caplog.messages == [f"{GIVEN_UP}: it took 30 s."]


def test_hanging_call_in_run_is_given_up(caplog: pytest.LogCaptureFixture) -> None:
    """A call may take 30 seconds; then the next one about the question is made."""
    heard: list[str] = []

    async def hang_once(event: QuestionEvent) -> None:
        heard.append(event.kind)
        if event.kind == "opened":
            await asyncio.sleep(3600)

    graph = new_graph()
    first = graph.ask("ask", question=lambda s: "go?", answer=Verdict)

    @node
    async def work(topic: Topic) -> Done:
        await asyncio.sleep(100)
        return Done(done=["worked"])

    graph.chain(first)
    graph.chain(work)
    flow = graph.build()

    async def main() -> None:
        running = asyncio.create_task(flow.run(Case(), run_id="r", on_question=hang_once))
        await asyncio.sleep(10)
        answering = asyncio.create_task(flow.answer("r", "ask", YES))
        await asyncio.sleep(1)
        assert heard == ["opened"]
        await asyncio.sleep(29)
        assert heard == ["opened", "answered"]
        await running
        await answering

    run_virtual(main())
    assert caplog.messages == [f"{GIVEN_UP}: it took 30 s."]


def test_message_behind_hanging_one_is_named(caplog: pytest.LogCaptureFixture) -> None:
    """Messages that were not sent when the run had rested for 30 seconds are in the log."""

    async def hang(event: QuestionEvent) -> None:
        await asyncio.sleep(3600)

    async def main() -> None:
        await build_map(concurrency=40).run(Case(topics=["a"] * 20), on_question=hang)
        assert now() == 30.0

    run_virtual(main())
    whys = [message.rpartition(": ")[2] for message in caplog.messages]
    assert sorted(whys) == ["it took 30 s."] * 16 + ["the run has ended."] * 4


@durables
def test_failing_hook_is_logged(is_durable: bool, caplog: pytest.LogCaptureFixture) -> None:
    """What a hook raises is logged once, with the question and the place; the run goes on."""

    async def fail(event: QuestionEvent) -> None:
        raise ConnectionError("no mail server")

    durable = open_place(is_durable)

    async def main() -> None:
        await FLOW.run(Case(), run_id="r", durable=durable, on_question=fail)
        result = await FLOW.answer("r", "ask", YES, durable=durable, on_question=fail)
        assert result.output.done == ["act yes"]

    run_virtual(main())
    raised = "on_question raised ConnectionError: no mail server when question 'ask' of run r"
    assert caplog.messages == [
        f"{raised} was opened.",
        f"{raised} was answered.",
    ]
    assert {record.levelno for record in caplog.records} == {logging.ERROR}
    assert "in fail" in caplog.text


@pytest.mark.parametrize("is_plain", [True, False])
def test_exit_in_hook_is_logged(is_plain: bool, caplog: pytest.LogCaptureFixture) -> None:
    """A hook cannot end the program."""

    def leave(event: QuestionEvent) -> None:
        raise SystemExit(3)

    async def leave_soon(event: QuestionEvent) -> None:
        raise SystemExit(3)

    run_virtual(FLOW.run(Case(), on_question=leave if is_plain else leave_soon))
    assert "It called sys.exit(3)" in caplog.messages[0]


# ---- order, and how many at once -----------------------------------------------------------------
def test_calls_about_question_keep_order() -> None:
    """That a question was answered is told after that it was opened, however slow that was."""
    heard: list[str] = []

    async def tell(event: QuestionEvent) -> None:
        await asyncio.sleep(5 if event.kind == "opened" else 0)
        heard.append(event.kind)

    graph = new_graph()
    graph.chain(graph.ask("ask", question=lambda s: "go?", answer=Verdict))
    graph.chain(node(name="work")(_work_long))
    flow = graph.build()

    async def main() -> None:
        running = asyncio.create_task(flow.run(Case(), run_id="r", on_question=tell))
        await asyncio.sleep(1)
        await flow.answer("r", "ask", YES)
        await running

    run_virtual(main())
    assert heard == ["opened", "answered"]


async def _work_long(topic: Topic) -> Done:
    await asyncio.sleep(10)
    return Done(done=["worked"])


def test_calls_run_sixteen_at_once() -> None:
    """Messages about many questions are sent side by side, but not all at once."""
    flow = build_map(concurrency=40)
    at_once = most = 0

    async def tell(event: QuestionEvent) -> None:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(1)
        at_once -= 1

    async def main() -> None:
        await flow.run(Case(topics=["tides"] * 40), on_question=tell)
        assert now() == 3.0

    run_virtual(main())
    assert most == 16


# ---- the end of a run ----------------------------------------------------------------------------
@durables
def test_interrupted_run_ends_its_calls(is_durable: bool, caplog: pytest.LogCaptureFixture) -> None:
    """A run whose caller is cancelled waits one second for its messages, and leaves no task."""
    graph = new_graph()
    graph.chain(graph.ask("ask", question=lambda s: "go?", answer=Verdict))
    graph.chain(node(name="work")(_work_long))
    flow = graph.build()

    async def hang(event: QuestionEvent) -> None:
        await asyncio.sleep(3600)

    async def main() -> None:
        running = flow.run(Case(), run_id="r", durable=open_place(is_durable), on_question=hang)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(running, 2)
        assert now() == 3.0

    run_virtual(main())
    assert caplog.messages == [f"{GIVEN_UP}: the run has ended."]


def test_failing_run_waits_for_messages() -> None:
    """A run that fails has told of its questions before it raises."""
    heard = Heard()

    @node
    async def break_down(topic: Topic) -> Done:
        await asyncio.sleep(1)
        raise LookupError("nothing there")

    async def tell(event: QuestionEvent) -> None:
        await asyncio.sleep(9)
        await heard(event)

    graph = new_graph()
    graph.chain(graph.ask("ask", question=lambda s: "go?", answer=Verdict))
    graph.chain(break_down)
    flow = graph.build()

    async def main() -> None:
        with pytest.raises(RunFailed):
            await flow.run(Case(), on_question=tell)

    run_virtual(main())
    assert heard.lines == ["ask opened"]


@durables
def test_hook_may_answer(is_durable: bool) -> None:
    """A hook that answers the question itself blocks nothing, and hears of its own answer."""
    heard, durable = Heard(), open_place(is_durable)

    async def answer(event: QuestionEvent) -> None:
        await heard(event)
        if event.kind == "opened":
            options: dict[str, Any] = {"durable": durable, "on_question": heard}
            await FLOW.answer(event.run_id, event.id, YES, **options)

    async def main() -> float:
        began = time.monotonic()
        await FLOW.run(Case(), run_id="r", durable=durable, on_question=answer)
        return time.monotonic() - began

    assert asyncio.run(main()) < 5
    assert heard.lines == ["ask opened", "ask answered"]


def test_stream_tells_hook() -> None:
    """A run whose events are streamed tells its hook, too."""
    heard = Heard()

    async def main() -> None:
        async for _ in FLOW.stream(Case(), on_question=heard):
            pass

    run_virtual(main())
    assert heard.lines == ["ask opened"]


def test_run_sync_tells_hook() -> None:
    """A script that waits for its run has sent its messages by then."""
    sent: list[str] = []
    FLOW.run_sync(Case(), on_question=lambda event: sent.append(event.kind))
    assert sent == ["opened"]

"""The 43 control-flow patterns of the workflow catalogue, each with a case that sets it apart.

Russell, ter Hofstede, van der Aalst and Mulyar (2006). The table in `patterns.md` says which are a
single construct. Each flow is run, replayed, and resumed after each of its records.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import itertools
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Literal

import pytest

from graphorch import END, START, InputError, Withdrawn, node
from graphorch.engine.replay import rebuild
from graphorch.journal.memory import MemoryStore
from graphorch.journal.records import RunLog
from tests.catalogue.running import (
    Answer,
    CatalogueFlow,
    Log,
    Number,
    Pass,
    Send,
    Word,
    check_flow,
    count_step,
    ended,
    new_graph,
    overlaps,
    step,
)
from tests.scenarios.crashed_copies import copy_run

TABLE = Path(__file__).parent / "patterns.md"
PREFIX = "test_wcp_"


# ---- basic control flow --------------------------------------------------------------------------
def test_wcp_01_sequence() -> None:
    """A task begins once the one before it has ended."""
    graph = new_graph().chain(step("a", 2), step("b", 1), step("c"))
    check_flow(graph.build(), ["a", "b", "c"])


def test_wcp_02_parallel_split() -> None:
    """Several tasks begin at once: a slow one does not hold back what follows a fast one."""
    graph = new_graph().chain(step("a"), [step("b", 5), (quick := step("c"))])
    graph.chain(quick, step("d"))
    check_flow(graph.build(), ["a", "b", "c", "d"])


def test_wcp_03_synchronization() -> None:
    """A task begins once all branches have ended, however long each takes."""
    graph = new_graph().chain(step("a"), [step("b", 5), step("c", 1)], last := step("d"))
    graph.join(last, need="all")
    check_flow(graph.build(), ["a", "b", "c", "d"])


def test_wcp_04_exclusive_choice() -> None:
    """One of several tasks begins, by a condition."""
    graph = new_graph()
    graph.route(step("a"), by=parity).when("even", step("b")).when("odd", step("c")).exhaustive()
    check_flow(graph.build(), ["a", "c"], given=Number(number=3))


def test_wcp_05_simple_merge() -> None:
    """Branches of which one was taken meet, and what follows does not wait for the others."""
    graph = new_graph()
    b, c = step("b"), step("c")
    graph.route(step("a"), by=parity).when("even", b).when("odd", c).exhaustive()
    check_flow(graph.chain([b, c], step("d")).build(), ["a", "b", "d"])


# ---- advanced branching and synchronization ------------------------------------------------------
def test_wcp_06_multi_choice() -> None:
    """Some of several tasks begin, by conditions."""
    graph = new_graph()
    route = graph.route(step("a"), by=divisors)
    route.when("two", step("b")).when("three", step("c")).when("five", step("d")).exhaustive()
    check_flow(graph.build(), ["a", "b", "d"], given=Number(number=10))


def test_wcp_07_structured_synchronizing_merge() -> None:
    """What follows some of several branches waits for those that were taken, and for no others."""
    graph = new_graph()
    b, c, d = step("b", 3), step("c"), step("d", 1)
    route = graph.route(step("a"), by=divisors)
    route.when("two", b).when("three", c).when("five", d).exhaustive()
    check_flow(graph.chain([b, c, d], step("e")).build(), ["a", "b", "d", "e"], given=ten())


def test_wcp_08_multi_merge() -> None:
    """A task runs once for each branch that reaches it: here, one sub-flow in each branch."""
    inner = new_graph("inner").chain(step("d"), step("e")).build()
    graph = new_graph()
    first = graph.sub("first", inner, enter=take_number, leave=give_log)
    second = graph.sub("second", inner, enter=take_number, leave=give_log)
    graph.chain(step("a"), [b := step("b", 2), c := step("c")])
    graph.chain(b, first).chain(c, second)
    check_flow(graph.build(), ["a", "b", "c", "d", "e", "d", "e"])


def test_wcp_29_cancelling_discriminator() -> None:
    """The first of several branches that ends continues, and cancels the others."""
    graph = new_graph().chain(step("a"), [step("b", 5), step("c", 1)], merge := step("d"))
    check_flow(graph.join(merge, need=1).build(), ["a", "c", "d"])


def test_wcp_32_cancelling_partial_join() -> None:
    """The first k of several branches continue, and cancel the others."""
    branches = [step("b", 5), step("c", 1), step("e", 2)]
    graph = new_graph().chain(step("a"), branches, merge := step("d"))
    check_flow(graph.join(merge, need=2).build(), ["a", "c", "e", "d"])


def test_wcp_37_local_synchronizing_merge() -> None:
    """A merge knows from the graph which branches can still come, also where a loop is in one."""
    graph = new_graph()
    b, c, again = step("b"), step("c", 9), count_step("again")
    graph.chain(step("a"), [b, c]).chain(b, again)
    graph.loop(again, back_to=b, while_=is_below_three, max_iterations=5)
    graph.chain([again, c], step("d"))
    check_flow(graph.build(), ["a", "b", "c", "b", "b", "d"])


def test_wcp_38_general_synchronizing_merge() -> None:
    """A merge waits for what can still come, and for no branch that has ended early."""
    graph = new_graph()
    b, c = step("b"), step("c", 5)
    graph.route(b, by=parity).when("even", c).when("odd", END).exhaustive()
    graph.chain(step("a"), [b, e := step("e")]).chain([c, e], step("d"))
    check_flow(graph.build(), ["a", "b", "e", "d"], given=Number(number=1))


def test_wcp_09_structured_discriminator() -> None:
    """The first branch that ends continues; the others end too, and lead nowhere."""
    graph = new_graph().chain(step("a"), [step("b", 5), step("c", 1)], merge := step("d", 1))
    graph.join(merge, need=1, rest="finish")
    assert ended(graph.build()) == ["a", "c", "d", "b"]
    check_flow(graph.build(), ["a", "c", "d"], ["a", "b", "d"])


def test_wcp_28_blocking_discriminator() -> None:
    """The next round begins only once all branches of the round before have ended."""
    graph = new_graph()
    again = count_step("again")
    graph.chain(a := step("a"), [step("b", 5), step("c", 1)], merge := step("d"), again)
    graph.join(merge, need=1, rest="finish")
    graph.loop(again, back_to=a, while_=is_one, max_iterations=2)
    order = ["a", "c", "d", "again", "b", "a", "c", "d", "again", "b"]
    assert ended(graph.build()) == order
    check_flow(graph.build(), *two_rounds(["a", "c", "d"], ["a", "b", "d"]))


def test_wcp_30_structured_partial_join() -> None:
    """The first k branches that end continue; the others end too, and lead nowhere."""
    branches = [step("b", 9), step("c", 1), step("e", 2)]
    graph = new_graph().chain(step("a"), branches, merge := step("d", 1))
    graph.join(merge, need=2, rest="finish")
    assert ended(graph.build()) == ["a", "c", "e", "d", "b"]
    check_flow(graph.build(), ["a", "c", "e", "d"], ["a", "b", "c", "d"], ["a", "b", "e", "d"])


def test_wcp_31_blocking_partial_join() -> None:
    """The next round of k branches begins only once all of the round before have ended."""
    graph = new_graph()
    again, branches = count_step("again"), [step("b", 9), step("c", 1), step("e", 2)]
    graph.chain(a := step("a"), branches, merge := step("d"), again)
    graph.join(merge, need=2, rest="finish")
    graph.loop(again, back_to=a, while_=is_one, max_iterations=2)
    round = ["a", "c", "e", "d", "again", "b"]
    assert ended(graph.build()) == [*round, *round]
    rounds = ["a", "c", "e", "d"], ["a", "b", "c", "d"], ["a", "b", "e", "d"]
    check_flow(graph.build(), *two_rounds(*rounds))


# ---- several instances ---------------------------------------------------------------------------
def test_wcp_13_instances_known_at_design_time() -> None:
    """A fixed number of instances of a task run at once, and are waited for."""
    graph = new_graph()
    each = graph.map("each", square, over=three_numbers, gather=list_squares, max_items=3)
    check_flow(graph.chain(START, each).build(), ["0", "1", "4"])


def test_wcp_14_instances_known_at_run_time() -> None:
    """The number of instances is known when they begin."""
    graph = new_graph()
    each = graph.map("each", square, over=count_up, gather=list_squares, max_items=9)
    check_flow(graph.chain(START, each).build(), ["0", "1", "4", "9"], given=Number(number=4))


def test_wcp_15_instances_not_known_before() -> None:
    """Instances add further ones while others run."""
    graph = new_graph()
    each = graph.map("each", halve, over=itself, gather=list_halves, grow=halves_of, max_items=20)
    check_flow(graph.chain(START, each).build(), ["5", "2", "1", "1", "3", "1", "2", "1", "1"])


def test_wcp_36_dynamic_partial_join_of_instances() -> None:
    """Instances may be added while others run, and a condition over the results ends them all."""
    graph = new_graph()
    each = graph.map(
        "each",
        halve,
        over=itself,
        gather=list_halves,
        grow=halves_of,
        until=has_three,
        max_items=20,
        concurrency=1,
    )
    check_flow(graph.chain(START, each).build(), ["5", "2", "3"], ["5", "2", "1"])


def test_wcp_35_cancelling_partial_join_of_instances() -> None:
    """The first k instances that end continue, and cancel the others."""
    graph = new_graph()
    each = graph.map(
        "each", wait_number, over=three_numbers, gather=list_squares, max_items=3, need=2
    )
    check_flow(graph.chain(START, each).build(), ["0", "1"])


def test_wcp_34_static_partial_join_of_instances() -> None:
    """The first k instances that end continue; the others end too, and give nothing."""
    graph = new_graph()
    each = graph.map(
        "each",
        wait_number,
        over=three_numbers,
        gather=list_squares,
        max_items=3,
        need=2,
        rest="finish",
    )
    flow = graph.chain(START, each, step("b")).build()
    order = ["each[0]/wait_number", "each[1]/wait_number", "each", "b", "each[2]/wait_number"]
    assert ended(flow) == order
    check_flow(flow, ["0", "1", "b"], ["0", "2", "b"], ["1", "2", "b"])


def test_wcp_12_instances_without_synchronization() -> None:
    """Instances run on their own, and nothing waits for them but the end of the run."""
    graph = new_graph()
    each = graph.map("each", wait_number, over=three_numbers, gather=ignore, max_items=3)
    graph.chain(step("a"), [each, quick := step("b")]).chain(quick, step("c"))
    order = ended(graph.build())
    assert order.index("c") < order.index("each[1]/wait_number") < order.index("each")
    check_flow(graph.build(), ["a", "b", "c"])


def test_wcp_26_cancel_several_instances() -> None:
    """All instances are withdrawn from outside, and the run goes on without their results."""
    graph, inner = new_graph(), new_graph("inner")
    each = inner.map("each", asking_flow(), over=three_numbers, gather=join_logs, max_items=3)
    stop = graph.signal("stop", Word)
    team = graph.sub(
        "team",
        inner.chain(START, each).build(),
        enter=take_number,
        leave=give_log,
        cancel_on=stop,
    )
    graph.chain(step("a"), team, step("b")).on_error(team, step("c"), when=Withdrawn)
    script = [
        Answer("team/each[0]/ask", Word(word="x")),
        Send("stop", Word(word="enough"), early=True),
    ]
    check_flow(graph.build(), ["a", "c"], script=script)


def test_wcp_27_complete_several_instances() -> None:
    """The instances that are done count, and the others are withdrawn from outside."""
    graph = new_graph()
    stop = graph.signal("stop", Word)
    each = graph.map(
        "each",
        asking_flow(),
        over=three_numbers,
        gather=join_logs,
        max_items=3,
        cancel_on=stop,
    )
    script = [Answer("each[1]/ask", Word(word="x")), Send("stop", Word(word="enough"), early=True)]
    check_flow(graph.chain(step("a"), each, step("b")).build(), ["a", "y", "b"], script=script)


# ---- state-based patterns ------------------------------------------------------------------------
def test_wcp_16_deferred_choice() -> None:
    """The first of several events decides what follows; until then all of them are possible."""
    graph = new_graph()
    ask = graph.ask("ask", question=how_many, answer=Word)
    paid = graph.signal("paid", Word)
    late = graph.timer("late", after=timedelta(days=3))
    events = {ask: step("b"), paid: step("c"), late: step("d")}
    flow = graph.chain(step("a"), graph.first("decided", events)).build()
    check_flow(flow, ["a", "b"], script=[Answer("ask", Word(word="x"))])
    check_flow(flow, ["a", "c"], script=[Send("paid", Word(word="x"))])
    check_flow(flow, ["a", "d"], script=[Pass(3 * 86_400)])


def test_wcp_23_transient_trigger() -> None:
    """A signal that nothing waits for is lost to the run, and its sender learns so."""
    graph = new_graph()
    go = graph.signal("go", Word, keep=0)
    flow = graph.chain(step("a"), go, step("b")).build()
    check_flow(flow, ["a", "b"], script=[Send("go", Word(word="x"))])

    async def send_early() -> None:
        graph, store = new_graph(), MemoryStore()
        ask = graph.ask("ask", question=how_many, answer=Word)
        go = graph.signal("go", Word, keep=0)
        flow = graph.chain(ask, go, step("b")).build()
        await flow.run(Number(), run_id="r", durable=store)
        with pytest.raises(InputError, match="none is kept before"):
            await flow.send("r", "go", Word(), durable=store)
        waiting = await flow.answer("r", "ask", Word(), durable=store)
        assert [wait.signal for wait in waiting.waits] == ["go"]

    asyncio.run(send_early())


def test_wcp_24_persistent_trigger() -> None:
    """A signal that comes early is kept until something waits for it."""
    graph = new_graph()
    ask = graph.ask("ask", question=how_many, answer=Word)
    go = graph.signal("go", Word)
    flow = graph.chain(ask, go, step("b")).build()
    script = [Send("go", Word(word="x"), early=True), Answer("ask", Word(word="y"))]
    check_flow(flow, ["b"], script=script)


def test_wcp_17_interleaved_parallel_routing() -> None:
    """Tasks with a partial order run one at a time, in an order that keeps to it."""
    graph = new_graph()
    a, b, c = step("a", 2), step("b", 1), step("c", 1)
    graph.chain(START, [a, b]).chain(a, c)
    flow = graph.exclusive("bench", [a, b, c]).build()
    check_flow(flow, ["a", "b", "c"])
    assert overlaps(flow) == []


def test_wcp_18_milestone() -> None:
    """A task can begin only until another point is reached: then the chance is withdrawn."""
    graph = new_graph()
    amend = graph.signal("amend", Word, keep=0)
    closed = graph.timer("closed", after=timedelta(days=1))
    events = {amend: step("b"), closed: step("c")}
    flow = graph.chain(step("a"), graph.first("open", events)).build()
    check_flow(flow, ["a", "b"], script=[Send("amend", Word(word="x"))])
    check_flow(flow, ["a", "c"], script=[Pass(2 * 86_400), Send("amend", Word(word="x"))])


def test_wcp_39_critical_section() -> None:
    """Of two sections of several tasks only one is active at a time, also while it waits."""
    graph, inner = new_graph(), new_graph("inner")
    inner.chain(step("x", 1), step("y", 1))
    flow = inner.build()
    one = graph.sub("one", flow, enter=take_number, leave=give_log)
    two = graph.sub("two", flow, enter=take_number, leave=give_log)
    graph.chain(step("a"), [one, two]).exclusive("section", [one, two])
    built = graph.build()
    check_flow(built, ["a", "x", "y", "x", "y"])
    assert overlaps(built) == []


def test_wcp_40_interleaved_routing() -> None:
    """Tasks run one at a time, in any order."""
    graph = new_graph()
    tasks = [step("a", 1), step("b", 1), step("c", 1)]
    flow = graph.chain(START, tasks, step("d")).exclusive("bench", tasks).build()
    check_flow(flow, ["a", "b", "c", "d"])
    assert overlaps(flow) == []


def test_wcp_19_cancel_task() -> None:
    """A task that is under way is withdrawn from outside, and what follows it is not begun."""
    graph = new_graph()
    stop = graph.signal("stop", Word)
    task = graph.sub("task", asking_flow(), enter=take_number, leave=give_log, cancel_on=stop)
    graph.chain(step("a"), task, step("b")).on_error(task, step("c"), when=Withdrawn)
    check_flow(graph.build(), ["a", "c"], script=[Send("stop", Word(word="x"), early=True)])
    answered = [Answer("task/ask", Word(word="x"))]
    check_flow(graph.build(), ["a", "y", "b"], script=answered)


def test_wcp_25_cancel_region() -> None:
    """Several tasks are withdrawn from outside together; others beside them are not."""
    graph, inner = new_graph(), new_graph("inner")
    first = inner.ask("first", question=how_many, answer=Word)
    second = inner.ask("second", question=how_many, answer=Number)
    inner.chain(START, [first, second], step("y"))
    stop = graph.signal("stop", Word)
    region = graph.sub("region", inner.build(), enter=take_number, leave=give_log, cancel_on=stop)
    graph.chain(step("a"), [region, step("b", 1)], last := step("d"))
    graph.on_error(region, c := step("c"), when=Withdrawn).chain(c, last)
    check_flow(
        graph.build(), ["a", "b", "c", "d"], script=[Send("stop", Word(word="x"), early=True)]
    )


def test_wcp_33_generalised_and_join() -> None:
    """A join fires once for each round in which all of its branches have come."""
    graph = new_graph()
    again = count_step("again")
    graph.chain(a := step("a"), [step("b", 2), step("c")], both := step("d"), again)
    graph.join(both, need="all")
    graph.loop(again, back_to=a, while_=is_below_three, max_iterations=3)
    check_flow(graph.build(), ["a", "b", "c", "d"] * 3)


# ---- iteration, termination ----------------------------------------------------------------------
def test_wcp_11_implicit_termination() -> None:
    """A run ends when nothing is left to do, without a node that says so."""
    graph = new_graph().chain(step("a"), [step("b", 3), step("c")])
    check_flow(graph.build(), ["a", "b", "c"])


def test_wcp_21_structured_loop() -> None:
    """A task repeats while a condition holds."""
    graph = new_graph().chain(b := step("b"), again := count_step("again"), step("c"))
    graph.loop(again, back_to=b, while_=is_below_three, max_iterations=5)
    check_flow(graph.build(), ["b", "b", "b", "c"])


def test_wcp_10_arbitrary_cycles() -> None:
    """Ways back with several beginnings and ends lead to one node, which all of them pass."""
    graph = new_graph()
    a, b, again, more = step("a"), step("b"), count_step("again"), count_step("more")
    graph.chain(a, b, again, more, step("c"))
    graph.loop(again, back_to=a, while_=is_one, max_iterations=3)
    graph.loop(more, back_to=b, while_=is_below_five, max_iterations=5)
    check_flow(graph.build(), ["a", "b", "a", "b", "b", "c"])


def test_wcp_20_cancel_case() -> None:
    """A whole run is withdrawn, with everything that is open in it."""

    async def check() -> None:
        graph = new_graph()
        graph.chain(step("a"), graph.ask("ask", question=how_many, answer=Word), step("b"))
        flow, store = graph.build(), MemoryStore()
        await flow.run(Number(), run_id="r", durable=store)
        await flow.cancel("r", durable=store)
        assert (await store.load("r")).head.status == "cancelled"
        with pytest.raises(InputError, match="cancelled"):
            await flow.answer("r", "ask", Word(), durable=store)
        stored = await store.load("r")
        for count in range(1, len(stored.records)):
            assert rebuild(flow.plan, "r", stored.records, until=count).last_seq == count
            await check_cancelled(flow, stored, count)

    asyncio.run(check())


async def check_cancelled(flow: CatalogueFlow, stored: RunLog, count: int) -> None:
    """Cancel a run that has its first records, unless they end it: it is over, without a step."""
    copy = MemoryStore()
    await copy_run(stored.head, stored.records[:count], copy)
    with contextlib.suppress(InputError):  # cancelled by these records
        await flow.cancel("r", durable=copy)
    with pytest.raises(InputError, match="cancelled"):
        await flow.resume("r", durable=copy)
    records = (await copy.load("r")).records
    assert "b" not in [item.body["path"] for item in records if item.kind == "commit"]


def test_wcp_41_thread_merge() -> None:
    """The threads of one branch become one again."""
    graph = new_graph()
    each = graph.map("each", wait_number, over=three_numbers, gather=list_squares, max_items=3)
    check_flow(graph.chain(START, each, step("b")).build(), ["0", "1", "2", "b"])


def test_wcp_42_thread_split() -> None:
    """One thread of a branch becomes several, which run on their own."""
    inner = new_graph("inner").chain(step("x", 1), step("y")).build()
    graph = new_graph()
    each = graph.map("each", inner, over=three_numbers, gather=join_logs, max_items=3)
    check_flow(graph.chain(START, each).build(), ["x", "y", "x", "y", "x", "y"])


def test_wcp_43_explicit_termination() -> None:
    """A node ends the run though other work is under way, which is cancelled."""
    graph = new_graph().chain(step("a"), [step("b", 9), step("c", 1)], END)
    flow = graph.join(END, need=1).build()
    assert ended(flow) == ["a", "c"]
    check_flow(flow, ["a", "c"])


def test_wcp_22_recursion() -> None:
    """A flow runs itself inside itself, as deep as its bound allows."""
    graph, lower = new_graph(), count_step("lower", -1)
    deeper = graph.sub("deeper", graph.itself(max_depth=5), enter=take_number, leave=give_log)
    graph.chain(step("a"), lower)
    graph.route(lower, by=sign).when("positive", deeper).when("zero", END).exhaustive()
    flow = graph.chain(deeper, step("b")).build()
    check_flow(flow, ["a", "a", "a", "b", "b"], given=Number(number=3))


# ---- functions of the state ----------------------------------------------------------------------
def two_rounds(*rounds: list[str]) -> list[list[str]]:
    """Return all logs of two rounds, the usual one first."""
    return [[*first, *second] for first, second in itertools.product(rounds, repeat=2)]


def ten() -> Number:
    return Number(number=10)


def parity(number: Number) -> Literal["even", "odd"]:
    return "odd" if number.number % 2 else "even"


def divisors(number: Number) -> set[Literal["two", "three", "five"]]:
    named: tuple[tuple[int, Literal["two", "three", "five"]], ...] = (
        (2, "two"),
        (3, "three"),
        (5, "five"),
    )
    return {name for divisor, name in named if number.number % divisor == 0}


def sign(number: Number) -> Literal["positive", "zero"]:
    return "positive" if number.number > 0 else "zero"


def asking_flow() -> CatalogueFlow:
    """Build a flow that asks a person, and then logs `y`."""
    inner = new_graph("asking")
    return inner.chain(inner.ask("ask", question=how_many, answer=Word), step("y")).build()


def ignore(results: list[Word]) -> Log:
    return Log()


def is_one(number: Number) -> bool:
    return number.number == 1


def is_below_five(number: Number) -> bool:
    return number.number < 5


def join_logs(results: list[Log]) -> Log:
    return Log(log=[line for log in results for line in log.log])


def is_below_three(number: Number) -> bool:
    return number.number < 3


def how_many(number: Number) -> str:
    return f"Is {number.number} enough?"


def take_number(number: Number) -> Number:
    return number


def give_log(log: Log) -> Log:
    return log


def three_numbers(number: Number) -> Sequence[Number]:
    return [Number(number=each) for each in range(3)]


def count_up(number: Number) -> Sequence[Number]:
    return [Number(number=each) for each in range(number.number)]


def itself(number: Number) -> Sequence[Number]:
    return [Number(number=5)]


def halves_of(result: Number) -> list[Number]:
    half = result.number // 2
    return [Number(number=each) for each in (half, result.number - half)] if half else []


def has_three(results: list[Number]) -> bool:
    return len(results) >= 3


def list_squares(results: list[Word]) -> Log:
    return Log(log=[word.word for word in results])


def list_halves(results: list[Number]) -> Log:
    return Log(log=[str(number.number) for number in results])


@node
async def square(number: Number) -> Word:
    return Word(word=str(number.number**2))


@node
async def wait_number(number: Number) -> Word:
    await asyncio.sleep(number.number)
    return Word(word=str(number.number))


@node
async def halve(number: Number) -> Number:
    await asyncio.sleep(number.number)
    return number


# ---- the table -----------------------------------------------------------------------------------
CONSTRUCTS = frozenset({"join", "loop", "map", "sub", "first", "exclusive"})


def read_rows() -> dict[int, list[str]]:
    """Return the cells of each row of the table, by the number of its pattern."""
    lines = TABLE.read_text("utf-8").splitlines()
    rows = [line for line in lines if line.startswith("| ") and line[2].isdigit()]
    cells = [[cell.strip() for cell in row.strip("| ").split("|")] for row in rows]
    return {int(first): rest for first, *rest in cells}


def list_names() -> list[str]:
    """Return number and name of each pattern that has a test, by number."""
    return sorted(name.removeprefix(PREFIX) for name in globals() if name.startswith(PREFIX))


def list_constructs() -> dict[int, set[str]]:
    """Return the constructs that the test of each pattern uses, by the number of the pattern."""
    used: dict[int, set[str]] = {}
    for test in ast.parse(Path(__file__).read_text("utf-8")).body:
        if isinstance(test, ast.FunctionDef) and test.name.startswith("test_wcp_"):
            calls = [part.func for part in ast.walk(test) if isinstance(part, ast.Call)]
            methods = {call.attr for call in calls if isinstance(call, ast.Attribute)}
            used[int(test.name.split("_")[2])] = methods & CONSTRUCTS
    return used


def test_table_lists_every_pattern() -> None:
    """Each pattern has a test, and a row with what expresses it here and in two other systems."""
    rows = read_rows()
    assert [*rows] == sorted(list_constructs()) == list(range(1, 44))
    titles = [name.replace("_", " ") for name in list_names()]
    words = [f"{number:02} {cells[0].lower()}" for number, cells in rows.items()]
    assert titles == [each.replace("-", " ") for each in words]
    assert {len(cells) for cells in rows.values()} == {5}
    judged = {cells[index] for cells in rows.values() for index in (1, 3, 4)}
    assert judged == {"●", "◐", "○"}
    assert "○" not in {cells[1] for cells in rows.values()}


def test_single_constructs_are_counted() -> None:
    """What the table calls a single construct is one in its test, as often as the table says."""
    used = list_constructs()
    single = [number for number, cells in read_rows().items() if cells[1] == "●"]
    assert {number: used[number] for number in single if len(used[number]) > 1} == {}
    assert f"({len(single)} of the 43)" in TABLE.read_text("utf-8")
    readme = TABLE.parents[2] / "README.md"
    assert f"{len(single)} of them as a single construct" in readme.read_text("utf-8")
    assert len(single) >= 34

"""Pictures of runs: what was taken, what failed and why, and what was not reached."""

from __future__ import annotations

import asyncio
import html
import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel

from graphorch import (
    Context,
    Flow,
    Graph,
    InputError,
    Limits,
    RunFailed,
    agent,
    append,
    node,
    tool,
)
from graphorch.journal.memory import MemoryStore
from graphorch.models.offline.client import OfflineClient
from graphorch.runs.drawing.run_picture import build_overlay
from tests.golden.flows import FLOWS, TOPIC, Answering, World
from tests.trace.acting import Topic as DeskTopic
from tests.trace.acting import act, desk


class Items(BaseModel):
    items: list[int] = [1, 2, 3]


class Item(BaseModel):
    item: int = 0


class Log(BaseModel):
    log: Annotated[list[str], append] = []


class Draft(BaseModel):
    draft: str = ""


class Inside(Item, Log): ...


class Middle(Items, Log): ...


class State(Items, Log, Draft): ...


AnyFlow = Flow[Any, Any, Any]


def each_item(items: Items) -> list[Item]:
    return [Item(item=n) for n in items.items]


def alone(items: Items) -> list[Items]:
    return [Items(items=[n]) for n in items.items]


def says(name: str, *, broken: str = "") -> Any:
    @node(name=name)
    def say(draft: Draft) -> Draft:
        if broken:
            raise ValueError(broken)
        return Draft(draft=f"{draft.draft}.")

    return say


def build(
    *,
    broken: Sequence[int] = (),
    on_item_error: Literal["fail", "skip"] = "fail",
    write: str = "",
    rounds: int = 3,
    exhausted: Literal["continue", "fail"] = "continue",
) -> AnyFlow:
    """Return a flow with a route in a map, and a loop that never accepts."""

    @node
    def check(item: Item) -> Log:
        if item.item in broken:
            raise ValueError(f"no price for {item.item}")
        return Log(log=["checked"])

    def kind(item: Item) -> Literal["odd", "even"]:
        return "odd" if item.item % 2 else "even"

    @node
    def odd(item: Item) -> Log:
        return Log(log=["odd"])

    inner = Graph("inner", Inside, input=Item, output=Log)
    inner.route(check, kind).when("odd", odd).when("even", odd.named("even")).exhaustive()
    graph = Graph("outer", State, input=Items, output=Draft)
    each = graph.map(
        "each",
        inner.build(),
        over=each_item,
        gather=lambda results: Log(log=[line for result in results for line in result.log]),
        max_items=9,
        on_item_error=on_item_error,
    )
    last = says("review")
    graph.chain(each, first := says("write", broken=write), last, says("publish"))
    graph.loop(
        last, back_to=first, while_=lambda d: True, max_iterations=rounds, exhausted=exhausted
    )
    return graph.build()


def run(flow: AnyFlow, **options: Any) -> Any:
    """Return the result of a run, or the error that it ended with."""
    try:
        return flow.run_sync(options.pop("input", Items()), **options)
    except RunFailed as error:
        return error


def words(svg: str) -> str:
    """Return what the picture of a run says, a text a line."""
    return "\n".join(html.unescape(text) for text in re.findall(r"<text[^>]*>([^<]*)", svg))


def taken(svg: str) -> set[str]:
    return set(re.findall(r'go_taken" data-line="([^"]*)"', svg))


def status(svg: str, box: str) -> str:
    found = re.search(rf'go_is_(\w+)" data-box="{re.escape(box)}"', svg)
    assert found is not None
    return found[1]


def test_lines_inside_map_are_taken() -> None:
    """The edges that items of a map took are marked, also in a map in a map."""
    svg = run(build(rounds=1)).svg()
    inner = build(rounds=1).plan.steps[0].inner_plan
    assert inner is not None
    lines = {f"each/{edge.index}" for edge in inner.topology.edges if edge.kind == "routed"}
    assert lines <= taken(svg)
    assert len(lines) == 2


def test_map_in_map_marks_its_lines() -> None:
    """The edges inside of an inner map are marked."""

    @node
    def first(item: Item) -> Log:
        return Log(log=["first"])

    def gather(results: list[Log]) -> Log:
        return Log(log=[line for result in results for line in result.log])

    lowest = Graph("lowest", Inside, input=Item, output=Log).chain(first, first.named("second"))
    middle = Graph("middle", Middle, input=Items, output=Log)
    low = middle.map("low", lowest.build(), over=each_item, gather=gather, max_items=9)
    graph = Graph("top", State, input=Items, output=Log)
    high = graph.map("high", middle.chain(low).build(), over=alone, gather=gather, max_items=9)
    svg = run(graph.chain(high).build()).svg()
    assert any(line.startswith("high/low/") for line in taken(svg))
    assert status(svg, "high/low/second") == "done"
    assert "2 of 3" not in words(svg)


def test_failed_item_is_counted() -> None:
    """One failed item of three says so on its box, and on the frame of the map."""
    svg = run(build(broken=[2], on_item_error="skip", rounds=1)).svg()
    assert status(svg, "each/check") == "failed"
    assert "1 of 3 failed · " in words(svg)
    assert "2 of 3 items · " in words(svg)


def places(svg: str) -> list[str]:
    """The boxes of a picture from left to right."""
    found = re.findall(
        r'data-box="(write|review|publish)">.*?<rect [^>]*?x="([\d.]+)"', svg, re.DOTALL
    )
    return [name for name, _ in sorted(found, key=lambda item: float(item[1]))]


def test_results_are_drawn_in_any_direction() -> None:
    """A result is drawn from left to right, with its figures."""
    result = run(build(rounds=1))
    svg = result.svg(engine="builtin", direction="LR")
    assert places(svg) == ["write", "review", "publish"]
    assert status(svg, "write") == "done"


def test_failed_run_has_picture() -> None:
    """A failed run shows what failed with its message, and what was not reached."""
    failed = run(build(write="the writer is ill"))
    svg = failed.svg(theme="dark")
    assert status(svg, "write") == "failed"
    assert "ValueError: the writer is ill" in words(svg)
    assert "write failed: ValueError: the writer is ill" in words(svg)
    assert "not reached: review, publish" in words(svg)
    assert "write failed: ValueError: the writer is ill." in svg.partition("<desc")[2]
    assert places(failed.svg(engine="builtin", direction="LR")) == ["write", "review", "publish"]
    data, _ = failed._repr_mimebundle_()
    assert data["image/svg+xml"] == failed.svg()
    assert "data:image/svg+xml;base64" in data["text/html"]


def test_failed_item_fails_run_in_picture() -> None:
    """A failed item names its path, and the map counts its items instead of repeating the error."""
    svg = run(build(broken=[1, 2, 3])).svg()
    assert re.search(r"each\[\d\]/check failed: ValueError: no price for \d", words(svg))
    assert "InnerFailed" not in words(svg)
    assert "0 of 3 items" in words(svg)
    closed = run(build(broken=[1])).svg(depth=0)
    assert status(closed, "each") == "failed"


def test_error_without_run_has_no_picture() -> None:
    """An error that somebody made of parts says that there is nothing to draw."""
    error = RunFailed("by hand", [ValueError("x")])
    with pytest.raises(InputError, match="belongs to no run"):
        error.svg()
    assert error._repr_mimebundle_() is None


def test_part_of_failure_keeps_picture() -> None:
    """What `except*` and `split` make of an error can still be drawn."""
    failed = run(build(write="no"))
    part, _ = failed.split(Exception)
    assert part.svg() == failed.svg()


def test_loop_at_bound_is_told() -> None:
    """A loop at its bound says so on the picture, in the result, and is not green."""
    result = run(build())
    svg = result.svg()
    assert status(svg, "review") == "at_bound"
    assert status(svg, "write") == "done"
    assert words(svg).count("3 of 3 rounds, not accepted") == 3  # the box, the frame, the remark
    assert "not accepted within its bound" in words(svg)  # the legend
    assert [(note.path, note.text) for note in result.notes] == [
        ("review", "3 of 3 rounds, not accepted")
    ]
    assert "review: 3 of 3 rounds, not accepted; " in repr(result)
    assert result.exhausted == (("review", "write"),)


def test_loop_that_fails_at_bound_is_red() -> None:
    """A loop that fails at its bound is a failure of its last node."""
    svg = run(build(exhausted="fail", rounds=2)).svg()
    assert status(svg, "review") == "failed"
    assert "review failed: LoopExhausted: The loop back to 'write' ran 2 times" in words(svg)


def test_loop_in_map_counts_its_ends() -> None:
    """A loop inside of a map says how many items left it unaccepted."""
    graph = Graph("many", State, input=Items, output=Log)

    @node
    def again(item: Item) -> Log:
        return Log(log=["x"])

    inner = Graph("inner", Inside, input=Item, output=Log).chain(again)
    inner.loop(again, back_to=again, while_=lambda s: s.item > 1, max_iterations=2)
    each = graph.map(
        "each",
        inner.build(),
        over=each_item,
        gather=lambda results: Log(log=[]),
        max_items=9,
    )
    result = run(graph.chain(each).build())
    overlay = build_overlay(result.record)
    assert overlay.marks["each/again//loop"].note == "2 of 2 rounds, not accepted, 2 times"
    assert overlay.marks["each/again"].status == "at_bound"
    assert sorted(note.path for note in result.notes) == ["each[1]/again", "each[2]/again"]


def test_limit_is_told() -> None:
    """A run that a limit ended says which, and what was not reached."""
    svg = run(build(), limits=Limits(activations=4)).svg()
    assert "stopped: more nodes ran than Limits(activations=…) allows" in words(svg)
    assert "publish" in words(svg).partition("not reached: ")[2].partition("\n")[0]


def test_interrupted_node_did_not_fail() -> None:
    """A node that was interrupted is no failure."""

    async def main() -> str:
        @node
        async def slow(draft: Draft) -> Draft:
            await asyncio.sleep(60)
            return draft

        flow = Graph("slow", State, input=Items, output=Draft).chain(slow, says("next")).build()
        with pytest.raises(RunFailed) as caught:
            await flow.run(Items(), limits=Limits(seconds=0.01))
        return caught.value.svg()

    svg = asyncio.run(main())
    assert status(svg, "slow") == "cancelled"
    assert "interrupted · " in words(svg)
    assert "not reached: next" in words(svg)


def test_waiting_run_names_question() -> None:
    """A run that waits shows who is asked what, and names nothing as not reached."""
    graph = Graph("asks", State, input=Items, output=Draft)
    ask = graph.ask("approve", question=lambda s: "Send it?", answer=Draft)
    svg = run(graph.chain(says("write"), ask, says("send")).build()).svg()
    assert status(svg, "approve") == "waiting"
    assert "approve asks: Send it?" in words(svg)
    assert "not reached: " not in words(svg)


def test_skipped_branch_is_not_reached() -> None:
    """What a failure in isolation left out says why."""
    graph = Graph("parts", State, input=Items, output=Draft)

    class Price(BaseModel):
        price: int

    class Wide(State, Price): ...

    @node
    def price(items: Items) -> Price:
        raise ValueError("no price")

    @node
    def use(price: Price) -> Log:
        return Log(log=["used"])

    graph = Graph("parts", Wide, input=Items, output=Draft)
    graph.chain(price, use)
    graph.chain(says("write"))
    svg = run(graph.build(), on_failure="isolate").svg()
    assert status(svg, "price") == "failed"
    assert status(svg, "write") == "done"
    assert status(svg, "use") == "not_reached"


def test_resumed_and_replayed_runs_draw_alike() -> None:
    """A failed run is drawn from its record as it was drawn live, and once resumed it is done."""
    store = MemoryStore()

    async def main() -> None:
        flow, client, world = FLOWS["failed"](), Answering(), World()
        with pytest.raises(RunFailed) as live:
            await flow.run(TOPIC, run_id="one", durable=store, client=client, resources=world)
        with pytest.raises(RunFailed) as read:
            await flow.replay("one", durable=store)
        times = re.compile(r"\d+(?:\.\d+)? m?s")
        drawn = [times.sub("", words(error.value.svg())) for error in (live, read)]
        assert drawn[0] == drawn[1]
        assert "fragile failed: OSError: the disk is not there" in drawn[0]

    asyncio.run(main())


def test_failed_cell_shows_picture(capsys: pytest.CaptureFixture[str]) -> None:
    """A kernel shows the picture of a run that failed in a cell, once."""
    shell_module = pytest.importorskip("IPython.core.interactiveshell")
    shell = shell_module.InteractiveShell.instance()
    shell.kernel = object()
    shown: list[Any] = []
    shell.display_pub.publish = lambda data, metadata=None, **_: shown.append(data)
    shell.user_ns["fail"] = lambda: build(write="the writer is ill").run_sync(Items())
    try:
        for _ in range(2):
            shell.run_cell("fail()")
        shell.run_cell("1 / 0")
    finally:
        shell_module.InteractiveShell.clear_instance()
    assert [data.keys() >= {"image/svg+xml", "text/html"} for data in shown] == [True, True]
    assert "the writer is ill" in capsys.readouterr().err


def test_box_of_agent_counts_its_tool_calls() -> None:
    """Calls of tools are part of their agent's box, which waits if one of them needs a person."""
    waiting = asyncio.run(desk().run(DeskTopic(), client=OfflineClient()))
    mark = build_overlay(waiting.record).marks["write"]
    assert (mark.status, mark.note) == ("waiting", "2 calls to approve")
    done = asyncio.run(desk().replay("one", durable=asyncio.run(act())))
    overlay = build_overlay(done.record)
    assert set(overlay.marks) == {"write", "count"}
    assert overlay.marks["write"].hint == "6 tool calls, 1 error told, 1 refused"


def test_notes_of_tools_are_remarks() -> None:
    """A tool has no box, so what it notes stands among the remarks of the picture."""

    @tool(effect="pure")
    async def look(ctx: Context, word: str) -> str:
        ctx.note(f"looked at {word}")
        return word

    @agent(output=DeskTopic, tools=[look], name="write")
    def write(topic: DeskTopic) -> str:
        return 'Look.\nSteps:\nlook {"word": "tides"}'

    flow = Graph("desk", DeskTopic, input=DeskTopic, output=DeskTopic).chain(write).build()
    result = asyncio.run(flow.run(DeskTopic(), client=OfflineClient()))
    remarks = build_overlay(result.record).remarks
    assert any("write/r1/look#0: looked at tides" in remark for remark in remarks)

"""Boxes, lines and frames that the parts of a plan become."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import pytest
from pydantic import BaseModel

from graphorch import Graph, Untrusted, agent, node
from graphorch.graph.node import END, START
from graphorch.graph.options import NodeSettings
from graphorch.graph.plan import AskSpec, Plan
from graphorch.graph.signature import Read, StateFunction
from graphorch.render import plan_picture
from graphorch.render.picture.model import Picture
from graphorch.render.picture.overlay import Mark, Overlay, complete_overlay
from graphorch.render.plan_picture import box_id, draw_plan, line_id
from tests.render.pictures import (
    Draft,
    Score,
    State,
    Topic,
    add_map,
    add_sub,
    company,
    essay,
    fan,
    graph,
    kind_of,
    planned,
    step,
    support,
    weak,
    worker,
)


def lines(picture: Picture) -> set[tuple[str, str, str, str]]:
    return {(line.source, line.target, line.kind, line.label) for line in picture.lines}


def test_loop_has_frame_around_body() -> None:
    """A chain with a loop is boxes lines and a frame around the body."""
    picture = draw_plan(essay())
    assert [(box.id, box.kind, box.detail, box.group) for box in picture.boxes] == [
        ("START", "start", "", None),
        ("research", "agent", "agent · google/gemini-2.5-pro", None),
        ("write", "agent", "agent · openai/gpt-5", "write//loop"),
        ("judge", "agent", "agent · openai/gpt-5-mini", "write//loop"),
        ("tidy", "node", "function", None),
        ("END", "end", "", None),
    ]
    assert lines(picture) == {
        ("START", "research", "always", ""),
        ("research", "write", "always", ""),
        ("write", "judge", "always", ""),
        ("judge", "tidy", "always", ""),
        ("tidy", "END", "always", ""),
        ("judge", "write", "loop", "while weak · max 3"),
    }
    assert [(group.id, group.name, group.kind) for group in picture.groups] == [
        ("write//loop", "loop", "loop")
    ]


def test_box_tooltip_names_slices() -> None:
    """The tooltip of a box says what its node reads and writes."""
    (research,) = [box for box in draw_plan(essay()).boxes if box.id == "research"]
    assert research.tooltip.splitlines()[1:] == ["reads Topic, Score", "writes Draft"]


@node
def tidy(draft: Draft) -> Draft:
    """Tidy the <draft> up
    in two lines.

    More that nobody reads in a tooltip.
    """
    return draft


@agent(output=Draft, model="openai/gpt-5")
def write(topic: Topic) -> str:
    """Write about the topic."""
    return topic.topic


@dataclass
class Scorer:
    """Score a draft."""

    strict: bool = True

    def __call__(self, draft: Draft) -> Score:
        return Score(score=len(draft.draft))


@dataclass
class Silent:
    strict: bool = True

    def __call__(self, draft: Draft) -> Score:
        return Score(score=len(draft.draft))


def test_box_tooltip_begins_with_docstring() -> None:
    """The first paragraph of a docstring comes first in a tooltip, and none of the library's."""
    flow = (
        Graph("documented", State, input=Topic, output=Draft)
        .chain(
            write,
            tidy,
            node(name="scorer")(Scorer()),
            node(name="silent")(Silent()),
        )
        .build()
    )
    hints = {box.id: box.tooltip for box in draw_plan(flow.plan).boxes}
    assert hints["tidy"] == "Tidy the <draft> up in two lines.\nreads Draft\nwrites Draft"
    assert hints["write"] == "Write about the topic.\nreads Topic\nwrites Draft"
    assert hints["scorer"] == "Score a draft.\nreads Draft\nwrites Score"
    assert hints["silent"] == "reads Draft\nwrites Score"
    assert "Tidy the &lt;draft" in flow.svg()
    assert "Tidy the &amp;lt;draft" in flow.to_dot() or "Tidy the <draft" in flow.to_dot()


def test_route_is_diamond() -> None:
    """A route is a diamond with a labelled branch for each target."""
    picture = draw_plan(support())
    (diamond,) = [box for box in picture.boxes if box.kind == "decision"]
    assert (diamond.id, diamond.name, diamond.tooltip) == (
        "classify//route",
        "kind_of?",
        "reads Topic",
    )
    assert ("classify", diamond.id, "always", "") in lines(picture)
    assert {
        (target, label)
        for source, target, kind, label in lines(picture)
        if kind == "conditional" and source == diamond.id
    } == {
        ("billing", "billing"),
        ("technical", "technical"),
        ("sales", "sales"),
        ("legal", "legal"),
        ("END", "other"),
    }


def test_route_labels_share_branch() -> None:
    """Labels that share a target share a branch."""
    built = graph("g")
    ask, node, rest = step("ask"), step("one"), step("rest")
    built.chain(START, ask)
    built._route(ask, kind_of).when("billing", node).when("sales", node).otherwise(rest)
    assert {
        label for *_, kind, label in lines(draw_plan(planned(built))) if kind == "conditional"
    } == {
        "billing, sales",
        "technical, legal, other",
    }


def test_nested_loops_have_nested_frames() -> None:
    """A loop in a loop is a frame in a frame and a used up loop leads elsewhere."""
    picture = draw_plan(support())
    assert {(group.id, group.parent) for group in picture.groups} == {
        ("answer//loop", None),
        ("refine//loop", "answer//loop"),
    }
    assert {box.id: box.group for box in picture.boxes if box.group} == {
        "answer": "answer//loop",
        "refine": "refine//loop",
        "check": "refine//loop",
        "polish": "answer//loop",
    }
    assert ("polish", "person", "exhausted", "after 5 rounds") in lines(picture)
    assert ("polish", "answer", "loop", "while … · max 5") in lines(picture)


def test_decision_stands_inside_its_loop() -> None:
    """A decision stands inside the loop that it can stay in."""
    built = graph("g")
    write, judge, edit, done = step("write"), step("judge"), step("edit"), step("done")
    built.chain(write, judge)
    built._route(judge, kind_of).when("billing", edit).otherwise(done)
    built.loop(edit, back_to=write, while_=weak, max_iterations=3)
    assert {box.id: box.group for box in draw_plan(planned(built)).boxes}[
        "judge//route"
    ] == "write//loop"
    assert {box.id: box.group for box in draw_plan(support()).boxes}["classify//route"] is None


def test_loops_on_header_share_frame() -> None:
    """Several ways back to one box share a frame and one label per loop."""
    built = graph("g")
    lead, node, other = step("lead"), step("one"), step("other")
    built.chain(lead, [node, other])
    built.loop([node, other], back_to=lead, while_=weak, max_iterations=4, exhausted="fail")
    picture = draw_plan(planned(built))
    assert [(group.id, group.detail) for group in picture.groups] == [
        ("lead//loop", "fails after 4")
    ]
    assert sorted(label for *_, kind, label in lines(picture) if kind == "loop") == [
        "",
        "while weak · max 4",
    ]


def test_loop_to_node_named_fail_leads_there() -> None:
    """A loop whose exhausted node is named "fail" leads there, and its frame does not fail."""
    built = graph("g")
    write, judge, fail = step("write"), step("judge"), step("fail")
    built.chain(write, judge)
    built.loop(judge, back_to=write, while_=weak, max_iterations=3, exhausted=fail)
    picture = draw_plan(planned(built))
    assert [(group.id, group.detail) for group in picture.groups] == [("write//loop", "")]
    assert ("judge", "fail", "exhausted", "after 3 rounds") in lines(picture)


def test_quorum_is_bar() -> None:
    """A quorum is a bar that all branches lead to."""
    picture = draw_plan(fan(4))
    (bar,) = [box for box in picture.boxes if box.kind == "join"]
    assert (bar.id, bar.name) == ("merge//join", "first 3 of 4")
    assert {source for source, target, *_ in lines(picture) if target == bar.id} == {
        f"branch_{number}" for number in range(4)
    }
    assert {source for source, target, *_ in lines(picture) if target == "merge"} == {bar.id}


def test_quorum_bar_before_loop_header() -> None:
    """A bar before the head of a loop stands outside and the way back leads past it."""
    built = graph("g")
    write, judge = step("write"), step("judge")
    built.chain([step("a"), step("b")], write, judge)
    built.join(write, need="all")
    built.loop(judge, back_to=write, while_=weak, max_iterations=3)
    picture = draw_plan(planned(built))
    assert {box.id: (box.name, box.group) for box in picture.boxes}["write//join"] == ("all", None)
    assert {target for _, target, kind, _ in lines(picture) if kind == "loop"} == {"write"}


def test_error_edge_names_exception() -> None:
    """An error edge is a line of its kind that names the exception."""
    assert ("merge", "rescue", "error", "TimeoutError") in lines(draw_plan(fan(2)))


def test_person_and_gate_are_named() -> None:
    """A person and a gate are named."""
    built = graph("g")
    approve, act = step("approve"), step("act")
    act.options = NodeSettings(gate="before", expires=3_600.0)
    built.chain(approve, act)
    built.spec.asks["approve"] = AskSpec(StateFunction(weak, (Read(Draft),)), Draft)
    plan = planned(built)
    boxes = {box.id: box for box in draw_plan(plan).boxes}
    assert boxes["approve"].detail == "asks for Draft"
    assert boxes["act"].detail == "function · gate before"
    assert boxes["act"].tooltip.endswith("a person agrees before it runs, within 1 hour")


def test_maps_and_sub_flows_are_frames() -> None:
    """Maps and sub flows are frames with paths for ids."""
    picture = draw_plan(company())
    assert {(group.id, group.kind, group.detail, group.parent) for group in picture.groups} >= {
        ("team", "sub", "", None),
        ("team/team", "sub", "", "team"),
        ("team/team/team", "sub", "", "team/team"),
        ("team/team/team/items", "map", "map · max 16 · first 2", "team/team/team"),
        ("team/team/team/items/write//loop", "loop", "", "team/team/team/items"),
        ("researchers", "map", "map · max 16", None),
    }
    groups = {box.id: box.group for box in picture.boxes}
    assert groups["team/plan"] == "team"
    assert groups["team/team/team/items/judge"] == "team/team/team/items/write//loop"
    assert groups["researchers/research"] == "researchers"


def test_lines_enter_and_leave_sub_flow() -> None:
    """Lines lead into an opened sub flow and out of it."""
    picture = draw_plan(company())
    assert ("brief", "team/plan", "always", "") in lines(picture)
    assert ("team/report", "publish", "always", "") in lines(picture)
    assert ("brief", "researchers/research", "always", "") in lines(picture)
    assert not [box.id for box in picture.boxes if box.id.endswith(("/START", "/END"))]


def test_sub_flow_with_several_entries() -> None:
    """A sub flow with several ways in and out has a start and an end inside."""
    inner = graph("inner")
    inner.chain([step("a"), step("b")], END)
    built = graph("outer")
    built.chain(step("before"), add_sub(built, "team", planned(inner)), step("after"))
    picture = draw_plan(planned(built))
    assert {("before", "team/START", "always", ""), ("team/END", "after", "always", "")} <= lines(
        picture
    )
    assert {("team/START", "team/a", "always", ""), ("team/b", "team/END", "always", "")} <= lines(
        picture
    )


@pytest.mark.parametrize(
    "depth, closed",
    [
        (0, {"team": "sub", "researchers": "map"}),
        (1, {"team/team": "sub"}),
        (3, {"team/team/team/items": "map"}),
        (4, {}),
    ],
)
def test_depth_limits_opened_levels(depth: int, closed: dict[str, str]) -> None:
    """Depth says how many levels are opened."""
    boxes = draw_plan(company(), depth=depth).boxes
    assert {box.id: box.kind for box in boxes if box.kind in ("map", "sub")} == closed


def test_closed_map_and_sub_flow() -> None:
    """A closed map and sub flow say what they are."""
    details = {box.id: box.detail for box in draw_plan(company(), depth=0).boxes}
    assert (details["team"], details["researchers"]) == ("sub-flow", "map · max 16")


def test_everything_opens_unless_large() -> None:
    """Everything is opened unless that is too much."""
    assert draw_plan(company()) == draw_plan(company(), depth=9)
    assert len(draw_plan(_big()).boxes) <= plan_picture.MANY
    assert len(draw_plan(_big(), depth=9).boxes) > plan_picture.MANY


def _big() -> Plan:
    inner = graph("inner")
    inner.chain(*(step(f"step_{number}") for number in range(90)))
    plan = planned(inner)
    built = graph("big")
    built.chain(*(add_sub(built, f"team_{number}", plan) for number in range(10)))
    return planned(built)


def test_path_of_map_in_sub_flow() -> None:
    """A map of agents in a sub flow has its full path."""
    inner = graph("inner")
    inner.chain(step("split"), add_map(inner, "each", worker("work", "gpt-5")), step("merge"))
    built = graph("outer")
    built.chain(step("before"), add_sub(built, "team", planned(inner)))
    assert "team/each/work" in {box.id for box in draw_plan(planned(built)).boxes}


def test_line_id_is_edge_id() -> None:
    """The line of an edge has the id that a run knows it by."""
    plan = company()
    ids = {line.id for line in draw_plan(plan).lines}
    team = next(step for step in plan.steps if step.name == "team")
    assert team.sub is not None
    inner = team.sub.flow
    assert {line_id("", edge) for edge in plan.topology.edges} <= ids
    assert {
        line_id("team", edge)
        for edge in inner.topology.edges
        if "START" not in inner.topology.name(edge.source)
    } - ids == {line_id("team", edge) for edge in inner.topology.entering[inner.topology.end]}


def test_map_items_share_box() -> None:
    """The items of a map run in one box."""
    assert box_id("team/each[3]/work") == "team/each/work"
    assert box_id("outer[0]/inner[12]/work") == "outer/inner/work"
    assert box_id("work[3]") == "work[3]"


def test_plan_picture_is_deterministic() -> None:
    """The picture of a plan is always the same."""
    assert draw_plan(company()) == draw_plan(company())


def test_marks_of_decisions_and_joins() -> None:
    """What runs around decisions and joins marks them."""
    picture = draw_plan(support())
    branch = next(line.id for line in picture.lines if line.label == "billing")
    overlay = complete_overlay(
        picture,
        Overlay(
            {"receive": Mark("done"), "classify": Mark("done"), "billing": Mark("running")},
            frozenset((branch,)),
        ),
    )
    assert overlay.marks["classify//route"].status == overlay.marks["START"].status == "done"
    assert "END" not in overlay.marks
    assert {
        line.id
        for line in picture.lines
        if line.target == "classify//route" or line.source == "START"
    } <= overlay.taken


def test_mark_of_reached_bar() -> None:
    """A bar is done once its node was reached."""
    picture = draw_plan(fan(3))
    assert "merge//join" not in complete_overlay(picture, Overlay({"split": Mark("done")})).marks
    reached = complete_overlay(picture, Overlay({"split": Mark("done"), "merge": Mark("running")}))
    assert reached.marks["merge//join"] == Mark("done")
    assert "merge//join/" in reached.taken


def test_given_marks_stay() -> None:
    """Marks that were given stay."""
    picture = draw_plan(fan(3))
    given = Overlay({"merge": Mark("failed"), "merge//join": Mark("waiting")})
    assert complete_overlay(picture, given).marks["merge//join"] == Mark("waiting")
    assert complete_overlay(picture, replace(given, marks={})).marks == {}


def test_lines_carry_marks_of_fields_that_are_still_read() -> None:
    """A line is marked as long as something after it reads the marked field, also inside."""

    class Page(BaseModel):
        text: Untrusted[str] = ""

    class Word(BaseModel):
        word: str = ""

    class Done(BaseModel):
        done: bool = False

    class Notes(Page, Word, Done): ...

    @node
    def fetch(word: Word) -> Page: ...
    @node
    def sum_up(page: Page) -> Word: ...
    @node
    def choose(word: Word) -> Done: ...
    @node
    def keep(done: Done) -> Done: ...
    def is_long(word: Word) -> Literal["yes", "no"]:
        return "yes"

    def enter(word: Word) -> Word:
        return word

    def leave(done: Done) -> Done:
        return done

    inner = Graph("inner", Notes, input=Word, output=Done).chain(choose, keep).build()
    graph = Graph("notes", Notes, input=Word, output=Done)
    team = graph.sub("team", inner, enter=enter, leave=leave)
    graph.chain(fetch, sum_up)
    graph.route(sum_up, is_long).when("yes", team).when("no", keep).exhaustive()
    picture = draw_plan(graph.build().plan)
    marked = {
        (line.source, line.target): line.tooltip.rpartition("\n")[2]
        for line in picture.lines
        if line.marks
    }
    assert marked == {
        ("fetch", "sum_up"): "untrusted values: text",
        ("sum_up", "sum_up//route"): "untrusted values: word",
        ("sum_up//route", "team/choose"): "untrusted values: word",
        ("team/choose", "team/keep"): "untrusted values: done",
        ("team/keep", "END"): "untrusted values: done",
        ("keep", "END"): "untrusted values: done",  # the label decides that it runs
    }


def test_member_shows_its_exclusive_region() -> None:
    """The box of a node, and the frame of a sub-flow, name their exclusive regions."""
    made = graph("store")
    load, save = step("load"), step("save")
    made.chain(load, save).exclusive("db", [load, save]).exclusive("log", save, across="journal")
    details = {box.id: box.detail for box in draw_plan(planned(made)).boxes}
    assert details["load"] == "function · exclusive db"
    assert details["save"] == "function · exclusive db · exclusive log across runs"


def test_undo_is_box_beside_its_node() -> None:
    """An undo is a box beside its node, also of a map's worker; no other line leads there."""

    def take_back(topic: Topic) -> None: ...

    @node(effect="once", undo=take_back)
    def book(topic: Topic) -> Draft:
        return Draft()

    picture = draw_plan(Graph("trip", State).chain(book).build().plan)
    assert ("book", "book/undo", "undo", "undo") in lines(picture)
    boxes = {box.id: (box.name, box.detail) for box in picture.boxes}
    assert boxes["book/undo"] == ("take_back", "undo")
    assert len(lines(picture)) == 3


def test_early_ends_are_named() -> None:
    """A map or sub-flow, open or closed, says which signal ends it, and its deadline."""
    from tests.scenarios.events.team import crawl_flow, team_flow

    for depth in (None, 0):
        team = draw_plan(team_flow(deadline=90.0).plan, depth=depth)
        crawl = draw_plan(crawl_flow().plan, depth=depth)
        details = [
            each.detail for picture in (team, crawl) for each in (*picture.boxes, *picture.groups)
        ]
        assert any(each.endswith("ended by stop · within 90 s") for each in details)
        assert "map · max 9 · ended by stop" in details

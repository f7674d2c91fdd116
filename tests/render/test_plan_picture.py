"""The picture of a plan: which boxes, lines and frames its nodes, edges, loops, maps and sub-flows become."""

from __future__ import annotations

from dataclasses import replace

import pytest

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


def test_a_chain_with_a_loop_is_boxes_lines_and_a_frame_around_the_body() -> None:
    picture = draw_plan(essay())
    assert [(box.id, box.kind, box.detail, box.group) for box in picture.boxes] == [
        ("START", "start", "", None),
        ("research", "agent", "agent · google/gemini-2.5-pro", None),
        ("write", "agent", "agent · openai/gpt-5", "write//loop"),
        ("judge", "agent", "agent · openai/gpt-5-mini", "write//loop"),
        ("tidy", "node", "node", None),
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


def test_the_tooltip_of_a_box_says_what_its_node_reads_and_writes() -> None:
    (research,) = [box for box in draw_plan(essay()).boxes if box.id == "research"]
    assert research.tooltip == "reads Topic, Score\nwrites Draft"


def test_a_route_is_a_diamond_with_a_labelled_branch_for_each_target() -> None:
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


def test_labels_that_share_a_target_share_a_branch() -> None:
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


def test_a_loop_in_a_loop_is_a_frame_in_a_frame_and_a_used_up_loop_leads_elsewhere() -> None:
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


def test_a_decision_stands_inside_the_loop_that_it_can_stay_in() -> None:
    built = graph("g")
    write, judge, edit, done = step("write"), step("judge"), step("edit"), step("done")
    built.chain(write, judge)
    built._route(judge, kind_of).when("billing", edit).otherwise(done)
    built.loop(edit, back_to=write, while_=weak, max_iterations=3)
    assert {box.id: box.group for box in draw_plan(planned(built)).boxes}[
        "judge//route"
    ] == "write//loop"
    assert {box.id: box.group for box in draw_plan(support()).boxes}["classify//route"] is None


def test_several_ways_back_to_one_box_share_a_frame_and_one_label_per_loop() -> None:
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


def test_a_quorum_is_a_bar_that_all_branches_lead_to() -> None:
    picture = draw_plan(fan(4))
    (bar,) = [box for box in picture.boxes if box.kind == "join"]
    assert (bar.id, bar.name) == ("merge//join", "first 3 of 4")
    assert {source for source, target, *_ in lines(picture) if target == bar.id} == {
        f"branch_{number}" for number in range(4)
    }
    assert {source for source, target, *_ in lines(picture) if target == "merge"} == {bar.id}


def test_a_bar_before_the_head_of_a_loop_stands_outside_and_the_way_back_leads_past_it() -> None:
    built = graph("g")
    write, judge = step("write"), step("judge")
    built.chain([step("a"), step("b")], write, judge)
    built.join(write, need="all")
    built.loop(judge, back_to=write, while_=weak, max_iterations=3)
    picture = draw_plan(planned(built))
    assert {box.id: (box.name, box.group) for box in picture.boxes}["write//join"] == ("all", None)
    assert {target for _, target, kind, _ in lines(picture) if kind == "loop"} == {"write"}


def test_an_error_edge_is_a_line_of_its_kind_that_names_the_exception() -> None:
    assert ("merge", "rescue", "error", "TimeoutError") in lines(draw_plan(fan(2)))


def test_a_person_and_a_gate_are_named() -> None:
    built = graph("g")
    approve, act = step("approve"), step("act")
    act.options = NodeSettings(gate="before")
    built.chain(approve, act)
    built.spec.asks["approve"] = AskSpec(StateFunction(weak, (Read(Draft),)), Draft)
    plan = planned(built)
    boxes = {box.id: box for box in draw_plan(plan).boxes}
    assert boxes["approve"].detail == "asks for Draft"
    assert boxes["act"].detail == "node · gate before"
    assert boxes["act"].tooltip.endswith("a person agrees before it runs")


def test_maps_and_sub_flows_are_frames_with_paths_for_ids() -> None:
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


def test_lines_lead_into_an_opened_sub_flow_and_out_of_it() -> None:
    picture = draw_plan(company())
    assert ("brief", "team/plan", "always", "") in lines(picture)
    assert ("team/report", "publish", "always", "") in lines(picture)
    assert ("brief", "researchers/research", "always", "") in lines(picture)
    assert not [box.id for box in picture.boxes if box.id.endswith(("/START", "/END"))]


def test_a_sub_flow_with_several_ways_in_and_out_has_a_start_and_an_end_inside() -> None:
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
def test_depth_says_how_many_levels_are_opened(depth: int, closed: dict[str, str]) -> None:
    boxes = draw_plan(company(), depth=depth).boxes
    assert {box.id: box.kind for box in boxes if box.kind in ("map", "sub")} == closed


def test_a_closed_map_and_sub_flow_say_what_they_are() -> None:
    details = {box.id: box.detail for box in draw_plan(company(), depth=0).boxes}
    assert (details["team"], details["researchers"]) == ("sub-flow", "map · max 16")


def test_everything_is_opened_unless_that_is_too_much() -> None:
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


def test_a_map_of_agents_in_a_sub_flow_has_its_full_path() -> None:
    inner = graph("inner")
    inner.chain(step("split"), add_map(inner, "each", worker("work", "gpt-5")), step("merge"))
    built = graph("outer")
    built.chain(step("before"), add_sub(built, "team", planned(inner)))
    assert "team/each/work" in {box.id for box in draw_plan(planned(built)).boxes}


def test_the_line_of_an_edge_has_the_id_that_a_run_knows_it_by() -> None:
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


def test_the_items_of_a_map_run_in_one_box() -> None:
    assert box_id("team/each[3]/work") == "team/each/work"
    assert box_id("outer[0]/inner[12]/work") == "outer/inner/work"
    assert box_id("work[3]") == "work[3]"


def test_the_picture_of_a_plan_is_always_the_same() -> None:
    assert draw_plan(company()) == draw_plan(company())


def test_what_runs_around_decisions_and_joins_marks_them() -> None:
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


def test_a_bar_is_done_once_its_node_was_reached() -> None:
    picture = draw_plan(fan(3))
    assert "merge//join" not in complete_overlay(picture, Overlay({"split": Mark("done")})).marks
    reached = complete_overlay(picture, Overlay({"split": Mark("done"), "merge": Mark("running")}))
    assert reached.marks["merge//join"] == Mark("done")
    assert "merge//join/" in reached.taken


def test_marks_that_were_given_stay() -> None:
    picture = draw_plan(fan(3))
    given = Overlay({"merge": Mark("failed"), "merge//join": Mark("waiting")})
    assert complete_overlay(picture, given).marks["merge//join"] == Mark("waiting")
    assert complete_overlay(picture, replace(given, marks={})).marks == {}

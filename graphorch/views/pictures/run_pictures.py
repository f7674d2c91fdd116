"""Pictures of a run as SVG: what it did, or how a figure is spread over its flow."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

from graphorch.errors import InputError
from graphorch.graph.plan import Plan
from graphorch.render.heat_map import Heat, Measure, heat_map
from graphorch.render.layout.engine import layout
from graphorch.render.picture.model import Picture
from graphorch.render.picture.overlay import Overlay
from graphorch.render.picture_style import PictureStyle
from graphorch.render.plan_picture import draw_plan
from graphorch.render.svg.document import draw
from graphorch.render.svg.theme import Theme
from graphorch.runs.drawing.pictures import draw_topology_svg
from graphorch.runs.drawing.run_picture import draw_run_svg
from graphorch.text import shorten_run_id
from graphorch.trace.spans.builder import SpanBuilder, is_crashed
from graphorch.views.pictures.described_picture import draw_description
from graphorch.views.pictures.record_overlay import build_record_overlay
from graphorch.views.reading.open_run import MANY_RECORDS, OpenRun


@dataclass(frozen=True, slots=True)
class PictureRequest:
    """How a run is drawn: with what it did by record `at` or without, and colours.

    Maps and sub-flows whose paths are in `closed` are one box each, where the flow is loaded.
    """

    shows_run: bool
    theme: Theme
    at: int | None = None
    closed: frozenset[str] = frozenset()


def draw_run(run: OpenRun, plan: Plan | None, request: PictureRequest) -> str:
    """Draw a run on the plan of its flow, or without one on what its first record describes.

    Raises `InputError` for a record that the run does not have, `JournalError`, `ReplayDiverged`.
    """
    at = run.seq if request.at is None else request.at
    if request.at is not None and not 1 <= at <= run.seq:
        raise InputError(
            f"at={at}: run {run.head.run_id} has the records 1 to {run.seq}. Ask for one of them."
        )
    if plan is None:
        return _draw_described(run, request, at)
    if run.seq > MANY_RECORDS and request.shows_run:
        # The records tell most of it, without rebuilding the run.
        picture = draw_plan(
            plan,
            closed=request.closed,
            ran=dict.fromkeys(span.step for span in run.trace.spans),
        )
        return _draw(picture, _build_overlay(run, at), request.theme)
    style = PictureStyle(theme=request.theme, closed=request.closed)
    if not request.shows_run or not run.seq:
        return draw_topology_svg(plan, style)
    is_last = at >= run.seq
    replayed = run.rebuild(plan) if is_last else run.step_to(plan, at)
    is_lost = is_last and is_crashed(run.head)
    return draw_run_svg(replayed.build_report(time.time()), style, is_lost=is_lost)


def draw_heat(
    run: OpenRun,
    plan: Plan | None,
    heats: Mapping[str, Heat],
    measure: Measure,
    request: PictureRequest,
) -> str:
    """Draw the flow of a run with every box as red as its figure in the run is large."""
    picture = _describe(run)
    if plan is not None:
        picture = draw_plan(plan, closed=request.closed, ran=heats)
    title = f"run {shorten_run_id(run.head.run_id)}"
    return heat_map(picture, heats, measure, title=title, theme=request.theme)


def _describe(run: OpenRun) -> Picture:
    return draw_description(run.head.flow, run.find_body("started").get("flow"))


def _draw_described(run: OpenRun, request: PictureRequest, at: int) -> str:
    picture = _describe(run)
    return _draw(picture, _build_overlay(run, at) if request.shows_run else None, request.theme)


def _draw(picture: Picture, overlay: Overlay | None, theme: Theme) -> str:
    return draw(picture, layout(picture, overlay=overlay), theme=theme, overlay=overlay)


def _build_overlay(run: OpenRun, at: int) -> Overlay:
    records = run.records[:at]
    if at >= run.seq:
        return build_record_overlay(run.trace, run.spans.flow, records)
    # While these were the last records, the run was under way.
    head = replace(run.head, status="running", is_under_way=True, last_seq=at)
    spans = SpanBuilder(head)
    spans.take_all(records)
    return build_record_overlay(spans.close(head), spans.flow, records)

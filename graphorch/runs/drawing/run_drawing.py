"""A run that can be drawn: for results and errors, which load what draws only when it is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from graphorch.engine.report import RunReport

if TYPE_CHECKING:
    from graphorch.render.layout.engine import Direction, Engine
    from graphorch.render.svg.theme import Theme


class RunDrawing:
    """The flow of a run with what the run did on it, however it ended."""

    __slots__ = ("report",)

    def __init__(self, report: RunReport) -> None:
        self.report = report

    def svg(
        self,
        *,
        theme: Theme = "auto",
        engine: Engine = "auto",
        depth: int | None = None,
        direction: Direction = "TB",
    ) -> str:
        """Draw the run as SVG."""
        from graphorch.render.picture_style import PictureStyle
        from graphorch.runs.drawing.run_picture import draw_run_svg

        return draw_run_svg(self.report, PictureStyle(theme, engine, depth, direction))

    def build_bundle(self, text: str) -> Any:
        """Return the picture as a mime bundle, with a text for readers without pictures."""
        from graphorch.render.notebook_picture import build_picture_bundle

        return build_picture_bundle(self.svg(), text)

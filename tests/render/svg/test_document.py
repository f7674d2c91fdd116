"""The SVG of a picture: complete, well-formed, harmless, scoped to itself, the same twice."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphorch.errors import InputError
from graphorch.render.layout.engine import layout
from graphorch.render.picture.model import Box, Line, Picture
from graphorch.render.picture.overlay import Mark, Overlay
from graphorch.render.plan_picture import draw_plan
from graphorch.render.svg.document import draw
from graphorch.render.svg.theme import DARK, LIGHT, Theme
from tests.render.pictures import (
    HOSTILE,
    company,
    essay,
    hostile,
    overlay_of,
    support,
    tangled,
    workflow,
)

NS = "{http://www.w3.org/2000/svg}"
PICTURES: dict[str, Callable[[], Picture]] = {
    "essay": lambda: draw_plan(essay()),
    "support": lambda: draw_plan(support()),
    "company": lambda: draw_plan(company()),
    "workflow": lambda: workflow(4),
    "hostile": hostile,
}
PAIR = Picture(
    "pair",
    (Box("a", "first", "agent"), Box("b", "second", "node")),
    (Line("1", "a", "b", "always", "goes"),),
)


def drawn(picture: Picture, *, theme: Theme = "auto", overlay: Overlay | None = None) -> str:
    return draw(picture, layout(picture, "builtin", overlay=overlay), theme=theme, overlay=overlay)


def words_of(svg: str) -> list[str]:
    return [text.text or "" for text in ET.fromstring(svg).iter(f"{NS}text")]


def classes_of(svg: str, attribute: str, id_: str) -> list[str]:
    return next(
        group.get("class", "").split()
        for group in ET.fromstring(svg).iter(f"{NS}g")
        if group.get(attribute) == id_
    )


@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.parametrize("marked", [False, True])
def test_svg_draws_every_element_once(name: str, marked: bool) -> None:
    """Every box line and group is drawn once with a tooltip."""
    picture = PICTURES[name]()
    root = ET.fromstring(drawn(picture, overlay=overlay_of(picture) if marked else None))
    boxes = [group for group in root.iter(f"{NS}g") if "data-box" in group.attrib]
    lines = [group for group in root.iter(f"{NS}g") if "data-line" in group.attrib]
    assert len(boxes) == len(picture.boxes)
    assert len(lines) == len(picture.lines)
    assert all(group.find(f"{NS}title") is not None for group in boxes)
    if name != "hostile":  # characters that no file may hold are gone from those
        assert [group.get("data-box") for group in boxes] == [box.id for box in picture.boxes]
        assert {group.get("data-line") for group in lines} == {line.id for line in picture.lines}
    frames = [
        rect
        for rect in root.iter(f"{NS}rect")
        if "go_frame" in rect.get("class", "") and rect.get("rx") == "12"
    ]
    assert len(frames) == len(picture.groups)


@pytest.mark.parametrize("theme", ["auto", "light", "dark"])
@pytest.mark.parametrize("name", PICTURES)
def test_svg_is_deterministic(name: str, theme: Theme) -> None:
    """The same picture gives the same bytes."""
    assert drawn(PICTURES[name](), theme=theme) == drawn(PICTURES[name](), theme=theme)


def test_svg_hostile_words_stay_words() -> None:
    """Hostile words stay words."""
    svg = drawn(
        hostile(),
        overlay=Overlay({"0 " + HOSTILE[0]: Mark("done", note=HOSTILE[0])}, title=HOSTILE[2]),
    )
    root = ET.fromstring(svg)
    assert {element.tag.removeprefix(NS) for element in root.iter()} <= {
        "svg",
        "title",
        "desc",
        "style",
        "g",
        "path",
        "rect",
        "text",
        "circle",
    }
    assert not [
        key
        for element in root.iter()
        for key in element.attrib
        if key.lower().startswith("on") or "href" in key
    ]
    assert HOSTILE[0] in words_of(svg)
    assert "<script" not in svg
    assert svg.count("</style>") == 1
    assert svg.count("</svg>") == 1


@given(st.lists(st.text(), min_size=6, max_size=6))
def test_svg_is_well_formed(texts: list[str]) -> None:
    """Any text gives well formed xml without control characters."""
    name, detail, tooltip, label, id_, title = texts
    boxes = Box(f"x{id_}", name, "agent", detail, tooltip), Box("b", "second", "node")
    picture = Picture(title, boxes, (Line(id_, boxes[0].id, "b", "conditional", label, tooltip),))
    svg = drawn(
        picture, overlay=Overlay({boxes[0].id: Mark("done", note=detail)}, frozenset((id_,)), title)
    )
    ET.fromstring(svg)
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", svg)


def test_svg_pictures_share_no_names() -> None:
    """Two pictures on a page share no class of their own no id and no animation."""
    picture, other = (draw_plan(plan) for plan in (essay(), support()))
    svgs = [
        drawn(picture),
        drawn(other),
        drawn(picture, theme="dark"),
        drawn(picture, overlay=overlay_of(picture)),
        drawn(other, overlay=overlay_of(other)),
    ]
    roots = [ET.fromstring(svg).get("class", "") for svg in svgs]
    assert len(set(roots)) == len(svgs)
    ids = [
        element.get("id")
        for svg in svgs
        for element in ET.fromstring(svg).iter()
        if element.get("id")
    ]
    assert len(ids) == len(set(ids)) == 2 * len(svgs)
    animations = [name for svg in svgs for name in re.findall(r"@keyframes (\w+)", svg)]
    assert len(animations) == len(set(animations)) == 2


@pytest.mark.parametrize("theme", ["auto", "light", "dark"])
def test_svg_style_rules_are_used(theme: Theme) -> None:
    """Every rule of the style sheet is about this picture."""
    picture = draw_plan(support())
    root = ET.fromstring(drawn(picture, theme=theme, overlay=overlay_of(picture)))
    style = "".join(element.text or "" for element in root.iter(f"{NS}style"))
    style = re.sub(r"@keyframes \w+\{50%\{[^}]*\}\}", "", style)
    selectors = re.findall(r"(?:^|[{}])([^{}@]+)\{", re.sub(r"@media\([^)]*\)", "", style))
    assert len(selectors) > 30
    assert [
        part
        for selector in selectors
        for part in selector.split(",")
        if f".{root.get('class')}" not in part
    ] == []


def test_svg_fixed_theme() -> None:
    """A fixed theme has its colours only."""
    light, dark = drawn(PAIR, theme="light"), drawn(PAIR, theme="dark")
    assert LIGHT["agent_fill"] in light
    assert DARK["agent_fill"] not in light
    assert DARK["agent_fill"] in dark
    assert LIGHT["agent_fill"] not in dark
    assert "prefers-color-scheme" not in light + dark


def test_svg_automatic_theme() -> None:
    """The automatic theme has both and follows the reader."""
    svg = drawn(PAIR)
    assert f"--go_agent_fill:{LIGHT['agent_fill']}" in svg
    assert f"--go_agent_fill:{DARK['agent_fill']}" in svg
    assert "@media(prefers-color-scheme:dark)" in svg
    assert '[data-jp-theme-light="false"]' in svg


@pytest.mark.parametrize("theme", ["auto", "light", "dark"])
def test_svg_colour_variables_are_defined(theme: Theme) -> None:
    """Every colour variable that is used is defined."""
    svg = drawn(draw_plan(support()), theme=theme)
    assert set(re.findall(r"var\((--\w+)\)", svg)) <= set(re.findall(r"(--\w+):", svg))


def test_svg_has_accessible_description() -> None:
    """It is an image with a name and a description for those who do not see it."""
    root = ET.fromstring(drawn(PAIR, overlay=Overlay({"a": Mark("done")})))
    name, description = (root.find(f"{NS}{tag}") for tag in ("title", "desc"))
    assert name is not None
    assert description is not None
    assert root.get("role") == "img"
    assert root.get("aria-labelledby") == f"{name.get('id')} {description.get('id')}"
    assert name.text == "pair"
    assert (
        description.text == "2 boxes, 1 lines. first (agent, done) leads to second (goes). "
        "second (function, not reached)."
    )


def test_svg_description_stays_short() -> None:
    """The description of a big picture is short."""
    description = ET.fromstring(drawn(workflow(29))).find(f"{NS}desc")
    assert description is not None
    assert (description.text or "").endswith("And 145 more.")


def test_legend_holds_present_kinds() -> None:
    """The legend holds the kinds that are there and no others."""
    assert words_of(drawn(PAIR))[-3:] == ["function", "agent", "always"]
    loop = replace(PAIR.lines[0], id="2", source="b", target="a", kind="loop")
    assert words_of(drawn(replace(PAIR, lines=(*PAIR.lines, loop))))[-4:] == [
        "function",
        "agent",
        "always",
        "loop back",
    ]


def test_legend_holds_present_statuses() -> None:
    """Under an overlay the legend holds the statuses that are there."""
    assert words_of(drawn(PAIR, overlay=Overlay({"a": Mark("failed")}, frozenset("1"))))[-4:] == [
        "failed",
        "not reached",
        "always",
        "taken",
    ]


def test_svg_overlay_shows_figures() -> None:
    """An overlay shows status figures and what was taken."""
    svg = drawn(
        PAIR, overlay=Overlay({"a": Mark("running", 3, 1.2, 1400, 0.011)}, frozenset("1"), "run 7")
    )
    assert "3× · 1.2 s · 1.4k tok · $0.011" in words_of(svg)
    assert "go_is_running" in classes_of(svg, "data-box", "a")
    assert "go_is_not_reached" in classes_of(svg, "data-box", "b")
    assert "go_taken" in classes_of(svg, "data-line", "1")
    assert words_of(svg)[:2] == ["pair", "run 7"]
    assert "go_taken" not in classes_of(
        drawn(PAIR, overlay=Overlay({"a": Mark("done")})), "data-line", "1"
    )


def test_svg_respects_reduced_motion() -> None:
    """A running box stands still for those who asked for less motion."""
    svg = drawn(PAIR, overlay=Overlay({"a": Mark("running")}))
    assert re.search(
        r"@media\(prefers-reduced-motion:reduce\)\{"
        r"\.go_\w+ \.go_is_running \.go_shape\{animation:none\}\}",
        svg,
    )
    assert "animation" not in drawn(PAIR)


def test_svg_drops_figures_without_room() -> None:
    """Figures that do not fit a box placed without them are dropped."""
    overlay = Overlay({"a": Mark("done", 3, 1.2, 1400, 0.011)})
    box = replace(PAIR.boxes[0], detail="agent · gpt-5")
    picture = replace(PAIR, boxes=(box, PAIR.boxes[1]))
    svg = draw(picture, layout(picture, "builtin"), overlay=overlay)
    assert "3× · 1.2 s" in words_of(svg)
    # no second line at all
    assert "1.2 s" not in " ".join(words_of(draw(PAIR, layout(PAIR, "builtin"), overlay=overlay)))


def test_svg_group_marks_in_title() -> None:
    """Marks of a group stand in its title."""
    picture = draw_plan(company(), depth=1)
    svg = drawn(picture, overlay=Overlay({"team": Mark("done", 1, 12.0)}))
    assert "1× · 12.0 s" in words_of(svg)


def test_svg_ignores_hidden_marks() -> None:
    """Marks of boxes that are not shown do no harm."""
    assert drawn(
        PAIR,
        overlay=Overlay(
            {"a": Mark("done"), "else/where": Mark("done")}, frozenset(("1", "else/1"))
        ),
    )


def test_svg_icons_are_paths() -> None:
    """Badges and icons are paths and not characters."""
    svg = drawn(PAIR, overlay=Overlay({"a": Mark("failed", note="x")}))
    assert [
        char for text in words_of(svg) for char in text if ord(char) > 0x2000 and char not in "…–—’"
    ] == []
    assert 'class="go_badge"' in svg


def test_svg_pins_known_widths() -> None:
    """Words of a known width are pinned to it."""
    texts = list(ET.fromstring(drawn(PAIR)).iter(f"{NS}text"))
    assert all(text.get("textLength") for text in texts)
    japanese = replace(PAIR, boxes=(replace(PAIR.boxes[0], name="日本語"), PAIR.boxes[1]))
    guessed = [
        text for text in ET.fromstring(drawn(japanese)).iter(f"{NS}text") if text.text == "日本語"
    ]
    assert [text.get("textLength") for text in guessed] == [None]


@pytest.mark.parametrize("name", PICTURES)
def test_svg_stays_inside_canvas(name: str) -> None:
    """Everything lies inside the canvas."""
    picture = PICTURES[name]()
    placed = layout(picture, "builtin")
    rects = [
        *placed.boxes.values(),
        *placed.groups.values(),
        *(curve.label for curve in placed.lines.values() if curve.label),
    ]
    assert all(
        rect.x >= 0 and rect.y >= 0 and rect.right <= placed.width and rect.bottom <= placed.height
        for rect in rects
    )
    assert float(ET.fromstring(drawn(picture)).get("width", "0")) > placed.width


def test_svg_of_empty_picture() -> None:
    """An empty picture is drawn."""
    assert ET.fromstring(drawn(Picture("nothing", ()))).tag.endswith("}svg")


def test_svg_unknown_theme() -> None:
    """An unknown theme is refused."""
    with pytest.raises(
        InputError, match=r"There is no theme 'pink'\. Use 'auto', 'light' or 'dark'\."
    ):
        draw(PAIR, layout(PAIR, "builtin"), theme="pink")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def test_svg_foreign_layout() -> None:
    """The layout of another picture is refused."""
    with pytest.raises(InputError, match="no place for 'b' of 'pair'"):
        draw(PAIR, layout(Picture("one", PAIR.boxes[:1]), "builtin"))


@pytest.mark.parametrize("seed", range(8))
def test_svg_of_tangled_pictures(seed: int) -> None:
    """Tangled pictures are drawn."""
    ET.fromstring(drawn(tangled(25, 40, seed)))


def test_lines_with_marked_values_have_rails() -> None:
    """Marks of a line show beside it, in its title, in the description and in the legend."""
    boxes = (Box("a", "a", "node"), Box("b", "b", "node"), Box("c", "c", "node"))
    lines = (
        Line("1", "a", "b", "always", tooltip="untrusted values: text", marks=("untrusted",)),
        Line("2", "b", "c", "loop", "again", marks=("untrusted", "secret")),
        Line("3", "a", "c", "always"),
    )
    picture = Picture("marked", boxes, lines)
    svg = draw(picture, layout(picture, "builtin"), theme="light")
    root = ET.fromstring(svg)
    rails = {
        group.get("data-line"): [
            str(path.get("class")) for path in group if "go_rails" in str(path.get("class"))
        ]
        for group in root.iter()
        if group.get("data-line")
    }
    assert rails == {
        "1": ["go_rails go_untrusted"],
        "2": ["go_rails go_secret go_outer", "go_rails go_untrusted"],
        "3": [],
    }
    assert "<title>untrusted values: text</title>" in svg
    assert "a (function) leads to b (untrusted values), c." in svg
    assert "b (function) leads to c (again; untrusted values; secret values)." in svg
    legend = [node.text for node in root.iter() if node.get("class") == "go_hint"]
    assert {"untrusted values", "secret values"} <= set(legend)
    plain = replace(picture, lines=lines[2:])
    unmarked = draw(plain, layout(plain, "builtin"), theme="light")
    assert "go_rails" not in unmarked
    assert "secret" not in unmarked

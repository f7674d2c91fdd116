"""Pictures and plans for the tests of drawing: small for laws, rich for looks."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel

from graphorch.graph.builder import GraphBuilder
from graphorch.graph.compiler import compile_plan
from graphorch.graph.node import END, Node
from graphorch.graph.plan import MapSpec, Plan, SubSpec
from graphorch.graph.signature import Read, Signature, StateFunction
from graphorch.graph.topology import build_topology
from graphorch.render.picture.model import Box, BoxKind, Group, Line, LineKind, Picture
from graphorch.render.picture.overlay import Mark, Overlay, Status

HOSTILE = (
    "<script>alert(1)</script>",
    '"quoted" & \'single\' \\ back\\slash \\N \\"',
    "]]> --> <!-- </style></svg>",
    "new\nline\ttab \x00\x07\x1b[31mred",
    "right\u202eleft \u200b",
    "日本語のノード 🎉 ünïcode",
    "$(rm) `tick` %s {x} |pipe| #35; &lt;",
    "a" * 300,
    " ",
)


class Topic(BaseModel):
    topic: str = ""


class Draft(BaseModel):
    draft: str = ""


class Score(BaseModel):
    score: int = 0


class State(Topic, Draft, Score): ...


class Item(BaseModel):
    item: str = ""


@dataclass(frozen=True)
class Asked:
    """The function of an agent, as far as a picture sees it."""

    model: str

    def __call__(self, topic: Topic, score: Score | None) -> Draft:
        return Draft()


def step(
    name: str, kind: Literal["node", "agent", "map", "sub"] = "node", model: str = ""
) -> Node[Any]:
    """A node that reads a topic and a score, and writes a draft."""
    signature = Signature(
        (Read(Topic), Read(Score, optional=True)), (Draft,), False, None, False, False
    )
    return Node(Asked(model), signature, name=name, kind=kind)


def worker(name: str, model: str) -> Node[Any]:
    """An agent that does one item."""
    return Node(
        Asked(model),
        Signature((Read(Item),), (Draft,), False, None, False, False),
        name=name,
        kind="agent",
    )


def planned(builder: GraphBuilder[Any]) -> Plan:
    """Return the plan of what was built, unchecked."""
    return compile_plan(builder.spec, build_topology(builder.spec), {})


def graph(name: str) -> GraphBuilder[State]:
    """An empty graph."""
    return GraphBuilder(name, State, None, None)


def weak(score: Score) -> bool:
    """A loop's condition."""
    return score.score < 8


def kind_of(topic: Topic) -> Literal["billing", "technical", "sales", "legal", "other"]:
    """A selector."""
    return "other"


def add_map(
    builder: GraphBuilder[Any],
    name: str,
    work: Node[Any] | None = None,
    flow: Plan | None = None,
    *,
    need: int | None = None,
) -> Node[Any]:
    """A map node with a worker or a flow."""
    made = step(name, "map")
    over = StateFunction(lambda state: [], (Read(None),))
    builder.spec.maps[name] = MapSpec(
        Item, Draft, work, flow, over, lambda found: Draft(), False, 16, 8, need, "fail"
    )
    return made


def add_sub(builder: GraphBuilder[Any], name: str, flow: Plan) -> Node[Any]:
    """A node that runs a flow."""
    made = step(name, "sub")
    builder.spec.subs[name] = SubSpec(
        flow, StateFunction(lambda state: state, (Read(None),)), lambda out: out
    )
    return made


def essay() -> Plan:
    """Five nodes and a loop."""
    built = graph("essay")
    research, write = (
        step("research", "agent", "google/gemini-2.5-pro"),
        step("write", "agent", "openai/gpt-5"),
    )
    judge, tidy = step("judge", "agent", "openai/gpt-5-mini"), step("tidy")
    built.chain(research, write, judge, tidy)
    built.loop(judge, back_to=write, while_=weak, max_iterations=3)
    return planned(built)


def support() -> Plan:
    """Draw a route with five labels, a loop in a loop, an exhausted way, a person, and a box."""
    built = graph("support")
    classify, answer, check = (
        step("classify", "agent", "openai/gpt-5-mini"),
        step("answer", "agent", "openai/gpt-5"),
        step("check"),
    )
    billing, technical, sales, legal = (
        step(name, "agent", "policy/cheap") for name in ("billing", "technical", "sales", "legal")
    )
    refine, polish, send, person = (
        step("refine", "agent", "openai/gpt-5"),
        step("polish"),
        step("send"),
        step("person"),
    )
    built.chain(step("receive"), classify)
    route = built._route(classify, kind_of)
    for label, to in (
        ("billing", billing),
        ("technical", technical),
        ("sales", sales),
        ("legal", legal),
    ):
        route.when(label, to)
    route.otherwise(END)
    built.chain([billing, technical, sales, legal], answer, refine, check, polish, send)
    built.loop(check, back_to=refine, while_=weak, max_iterations=3)
    built.loop(
        polish, back_to=answer, while_=lambda state: False, max_iterations=5, exhausted=person
    )
    return planned(built)


def supervisor() -> Plan:
    """Draw workers in one row that lead back to their sender, a loop of one node, and an error."""
    built = graph("supervisor")
    lead, report, cache = (
        step("lead", "agent", "openai/gpt-5"),
        step("report", "agent", "policy/frontier"),
        step("use_cache"),
    )
    names = ("search_the_literature_thoroughly_and_summarise_each_paper", "compute", "draft", "a")
    search, *others = workers = [step(name, "agent", "policy/cheap") for name in names]
    route = (
        built._route(lead, kind_of)
        .when("billing", search)
        .when("technical", others[0])
        .when("sales", others[1])
    )
    route.when("legal", others[2]).otherwise(report)
    built.loop(workers, back_to=lead, while_=weak, max_iterations=8)
    built.chain(workers, report)
    built.loop(report, back_to=report, while_=weak, max_iterations=2)
    built.on_error(report, cache, when=(TimeoutError, ConnectionError))
    return planned(built)


def fan(width: int) -> Plan:
    """Branches side by side, of which three are needed."""
    built = graph("fan")
    merge = step("merge", "agent", "openai/gpt-5")
    rescue = step("rescue")
    built.chain(
        step("split"),
        [step(f"branch_{number}", "agent", "openai/gpt-5-mini") for number in range(width)],
        merge,
        step("report"),
    )
    built.join(merge, need=3)
    built.on_error(merge, rescue, when=TimeoutError)
    return planned(built)


def company(levels: int = 3) -> Plan:
    """Sub-flows in sub-flows, a map of agents and a map of flows at the bottom."""
    inner: Plan | None = None
    for level in range(levels, 0, -1):
        built = graph(f"level_{level}")
        plan_, report = (
            step("plan", "agent", "openai/gpt-5"),
            step("report", "agent", "openai/gpt-5"),
        )
        built.chain(plan_, [_middle(built, inner), step(f"check_{level}")], report)
        inner = planned(built)
    built = graph("company")
    researchers = add_map(built, "researchers", worker("research", "google/gemini-2.5-flash"))
    built.chain(
        step("brief"),
        [add_sub(built, "team", inner) if inner else step("team"), researchers],
        step("publish"),
    )
    return planned(built)


def _middle(built: GraphBuilder[Any], inner: Plan | None) -> Node[Any]:
    if inner is None:
        return add_map(built, "items", flow=essay(), need=2)
    return add_sub(built, "team", inner)


def workflow(blocks: int) -> Picture:
    """A realistic big picture: blocks of 1 → 5 → 1 with loops, some side by side."""
    boxes, lines, groups = [Box("START", "start", "start")], list[Line](), list[Group]()
    before = ["START"]

    def join(source: str, target: str, kind: LineKind = "always", label: str = "") -> None:
        lines.append(Line(f"{len(lines)}", source, target, kind, label))

    for block in range(blocks):
        group = f"team_{block}"
        groups.append(Group(group, group, "sub" if block % 3 else "loop", f"block {block}"))
        head, foot = f"{group}/plan", f"{group}/merge"
        boxes.append(Box(head, f"plan_{block}", "agent", "agent · openai/gpt-5", group=group))
        for source in before:
            join(source, head)
        for number in range(5):
            boxes.append(
                Box(f"{group}/{number}", f"work_{block}_{number}", "node", "node", group=group)
            )
            join(
                head,
                f"{group}/{number}",
                "conditional" if number == 4 else "always",
                "maybe" if number == 4 else "",
            )
            join(f"{group}/{number}", foot)
        boxes.append(Box(foot, f"merge_{block}", "node", "node", group=group))
        if block % 3 == 0:
            join(foot, head, "loop", "while weak · max 3")
        before = [foot] if block % 4 else [*before[-1:], foot]
    boxes.append(Box("END", "end", "end"))
    for source in before:
        join(source, "END")
    return Picture("workflow", tuple(boxes), tuple(lines), tuple(groups))


def hostile() -> Picture:
    """Every text of a picture is something that a page should not run."""
    kinds: tuple[BoxKind, ...] = (
        "agent",
        "node",
        "map",
        "sub",
        "ask",
        "decision",
        "join",
        "start",
        "end",
    )
    group = Group(HOSTILE[0], HOSTILE[0], "loop", HOSTILE[1])
    boxes = tuple(
        Box(f"{index} {text}", text, kinds[index], text, text, group.id if index % 2 else None)
        for index, text in enumerate(HOSTILE)
    )
    lines = tuple(
        Line(
            f"{index} {HOSTILE[index]}",
            boxes[index].id,
            boxes[index + 1].id,
            "conditional",
            HOSTILE[index],
            HOSTILE[index],
        )
        for index in range(len(boxes) - 1)
    )
    return Picture(HOSTILE[0], boxes, lines, (group,))


def tangled(boxes: int, lines: int, seed: int, *, grouped: bool = True) -> Picture:
    """A random picture: lines of every kind, ways back, labels, and groups in groups."""
    dice = random.Random(seed)
    groups = _random_groups(dice, boxes // 4) if grouped else ()
    kinds: tuple[BoxKind, ...] = ("agent", "node", "map", "sub", "ask", "decision", "join")
    made = [Box("0", "start", "start")]
    for number in range(1, boxes):
        group = dice.choice(groups).id if groups and dice.random() < 0.6 else None
        made.append(
            Box(
                f"{number}",
                "n" * dice.randint(1, 24),
                dice.choice(kinds),
                dice.choice(("", "agent · gpt-5")),
                group=group,
            )
        )
    drawn: list[Line] = []
    for number in range(lines):
        source, target = dice.randrange(boxes), dice.randrange(boxes)
        kind = (
            dice.choice(("always", "conditional", "error", "exhausted"))
            if source < target
            else "loop"
        )
        drawn.append(
            Line(
                f"{number}", f"{source}", f"{target}", kind, dice.choice(("", "", "a label", "no"))
            )
        )
    return Picture(f"tangled {seed}", tuple(made), tuple(drawn), tuple(groups))


def _random_groups(dice: random.Random, count: int) -> tuple[Group, ...]:
    groups: list[Group] = []
    for number in range(count):
        parent = dice.choice(groups).id if groups and dice.random() < 0.5 else None
        groups.append(
            Group(f"g{number}", f"group {number}", dice.choice(("loop", "sub", "map")), "", parent)
        )
    return tuple(groups)


def overlay_of(picture: Picture) -> Overlay:
    """A run that did the first half, is at one box, failed at one, and waits at one."""
    half = len(picture.boxes) * 2 // 3
    marks: dict[str, Mark] = {}
    for index, box in enumerate(picture.boxes[: half + 3]):
        late: dict[int, Status] = {half: "running", half + 1: "failed", half + 2: "waiting"}
        if box.kind not in ("start", "end", "decision", "join"):
            marks[box.id] = Mark(
                late.get(index, "done"),
                1 + index % 3,
                0.4 + index * 1.7,
                900 * (index + 1),
                0.0021 * (index + 1),
            )
    taken = frozenset(
        line.id
        for line in picture.lines
        if marks.get(line.source) and (line.target in marks or "//" in line.target)
    )
    return Overlay(marks, taken, "run 7f3a · running · 41.2 s · $0.083")


def layered(boxes: int, seed: int) -> Picture:
    """Draw a random picture of a big flow: lines lead a little further down, some lead back."""
    dice = random.Random(seed)
    made = [Box("0", "start", "start")]
    drawn: list[Line] = []
    for number in range(1, boxes):
        made.append(
            Box(
                f"{number}",
                f"step_{number}",
                dice.choice(("agent", "node", "node")),
                "agent · openai/gpt-5",
            )
        )
        for source in {max(0, number - dice.randint(1, 12)) for _ in range(dice.choice((1, 1, 2)))}:
            drawn.append(Line(f"{len(drawn)}", f"{source}", f"{number}", "always"))
        if number % 25 == 0:
            drawn.append(
                Line(f"{len(drawn)}", f"{number}", drawn[-1].source, "loop", "while weak · max 3")
            )
    return Picture(f"layered {seed}", tuple(made), tuple(drawn))

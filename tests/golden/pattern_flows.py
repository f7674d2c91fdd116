"""The flows of the golden journals of patterns and agents. They stay as they are, like those in `flows.py`.

Each of the six patterns, with agents that ask for structured output and call a tool, inside maps and sub-flows, and a question in a sub-flow.
The model answers from the text that it is asked alone, so a run that is resumed gets the answers that an undisturbed run gets.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Literal

from pydantic import BaseModel, Field

from graphorch import Flow, Graph, Request, Response, Usage, agent, node
from graphorch.models.messages import ToolCall
from graphorch.patterns import Declined, Feedback, Gaps, Repeat

AnyFlow = Flow[Any, Any, Any]
Kind = Literal["short", "long"]


class Topic(BaseModel):
    """What it is about."""

    topic: str = Field("", description="a few words")


class Sorted(BaseModel):
    kind: Kind = "long"
    sure: float = Field(1.0, ge=0, le=1)


class Draft(BaseModel):
    draft: str = ""


class Grade(BaseModel):
    """A grade and what to improve."""

    points: float = 0
    remark: str = ""


class Task(BaseModel):
    id: str
    part: str
    worker: Literal["study", "essay"]
    needs: list[str] = []


class Tasks(BaseModel):
    tasks: list[Task] = []


class Legal(BaseModel):
    legal: str = ""


class Money(BaseModel):
    price: int = 0


class Report(BaseModel):
    report: str = ""


class Approved(BaseModel):
    approved: bool = False


class Desk(Topic, Sorted, Draft, Grade, Tasks, Legal, Money, Report, Approved, Feedback, Gaps):
    """All that is on the desk."""


def depth(harbour: str, hour: int = 12) -> str:
    """The depth of a harbour at an hour of the day."""
    return f"{harbour} at {hour}: {len(harbour) / 10} m"


@agent(output=Sorted, model="golden")
def classify(t: Topic) -> str:
    return f"Sort {t.topic}"


@agent(output=Draft, model="golden", instructions="You write for sailors.")
def write(t: Topic, g: Grade) -> str:
    return f"Write about {t.topic}. {g.remark}"


@agent(output=Grade, model="golden-judge")
def judge(d: Draft) -> str:
    return f"Grade: {d.draft}"


@agent(output=Draft, model="golden")
def note_down(t: Topic) -> None: ...


@agent(output=Legal, model="golden", tools=[depth])
def law(t: Topic, d: Draft) -> str:
    return f"Law of {t.topic}: {d.draft}"


@agent(output=Money, model="golden")
def money(t: Topic) -> str:
    return f"Price of {t.topic}"


@agent(output=Report, model="golden")
def publish(d: Draft, l: Legal, m: Money) -> str:  # noqa: E741
    return f"Publish {d.draft} {l.legal} {m.price}"


@agent(output=Tasks, model="golden")
def plan(t: Topic) -> str:
    return f"Plan {t.topic}"


@agent(output=Report, model="golden")
def summarize(r: Report) -> str:
    return f"Sum up {r.report}"


@agent(output=Legal, model="golden")
def study(task: Task) -> str:
    return f"Study {task.part}"


@node
def essay(task: Task) -> Draft:
    if task.part == "ghosts":
        raise Declined("there are none")
    return Draft(draft=f"essay on {task.part}")


def kind_of(s: Sorted) -> Kind:
    return s.kind


def sure_of(s: Sorted) -> float:
    return s.sure


def good(g: Grade) -> bool:
    return g.points >= 9


def points_of(g: Grade) -> float:
    return g.points


def long_enough(d: Draft) -> bool | Repeat:
    return True if len(d.draft) > 12 else Repeat("too short")


def worker_of(task: Task) -> Literal["study", "essay"]:
    return task.worker


def reported(reports: list[BaseModel]) -> Report:
    return Report(report=" + ".join(str(report.model_dump()) for report in reports))


def graph(name: str) -> Graph[Desk, Topic, Any]:
    return Graph(name, Desk, input=Topic, output=Report)


@node
def finish(d: Draft, l: Legal, m: Money) -> Report:  # noqa: E741
    return Report(report=f"{d.draft}|{l.legal}|{m.price}")


def pipeline() -> AnyFlow:
    """A gate that sends a step back once."""
    made = graph("pipeline").pipeline(
        note_down, law, finish, gates={note_down: long_enough}, attempts=3
    )
    return made.build()


def fan_out() -> AnyFlow:
    """Three branches and a merge."""
    made = graph("fan_out").chain(note_down, [law, money, judge])
    return made.fan_out([law, money, judge], publish).build()


def router() -> AnyFlow:
    """Two specialists, a threshold and a second opinion."""
    made = graph("router")
    second = classify.named("second").with_model("golden-second")
    made.router(
        classify,
        kind_of,
        {"short": note_down, "long": write},
        default=note_down,
        confidence=sure_of,
        threshold=0.6,
        second_opinion=second,
    )
    return made.chain([note_down, write], finish).build()


def evaluator_loop() -> AnyFlow:
    """Drafts until one is good, inside a sub-flow beside a question."""
    inner = (
        graph("inner")
        .evaluator_loop(write, judge, accept=good, score=points_of, max_rounds=4)
        .chain(judge, finish)
        .build()
    )
    made = graph("evaluator_loop")
    team = made.sub("team", inner, enter=lambda s: Topic(topic=s.topic), leave=kept)
    ask: Any = made.ask("ask", question=lambda s: f"Publish {s.topic}?", answer=Approved)
    return made.chain([team, ask], summarize).build()


def kept(report: Report) -> Report:
    return report


def supervisor() -> AnyFlow:
    """A plan with an order of its tasks, one of which is declined, so that the planner plans again."""
    workers: Any = {"study": study, "essay": essay}
    made = graph("supervisor").supervisor(
        plan,
        tasks=lambda s: s.tasks,
        worker_of=worker_of,
        workers=workers,
        gather=reported,
        max_tasks=4,
        assemble=summarize,
    )
    return made.build()


def hierarchy() -> AnyFlow:
    """Teams two levels deep, one of them a supervisor, with shares of the budget, and a map of evaluator loops."""
    office = supervisor()
    house = graph("house")
    team = house.sub("office", office, enter=lambda s: Topic(topic=s.topic), leave=kept)
    node1 = house.map(
        "each",
        article(),
        over=lambda s: [Topic(topic=word) for word in s.topic.split()],
        gather=joined,
        max_items=5,
    )

    @node
    def lead(t: Topic) -> None: ...

    return house.hierarchy(lead, [team, node1], summarize, shares={team: 0.6, node1: 0.4}).build()


def article() -> AnyFlow:
    made: Graph[Desk, Topic, Draft] = Graph("article", Desk, input=Topic, output=Draft)
    return made.evaluator_loop(write, judge, accept=good, score=points_of, max_rounds=3).build()


def joined(drafts: list[Draft]) -> Draft:
    return Draft(draft=" / ".join(draft.draft for draft in drafts))


class Model:
    """Answers from the text alone; keeps every request. From call number `dies_at` on it calls `die` first."""

    def __init__(self, dies_at: int | None = None, die: Callable[[], None] | None = None) -> None:
        self.requests: list[Request] = []
        self._dies_at = dies_at
        self._die = die

    async def complete(self, request: Request, on_text: Any = None) -> Response:
        """An answer that costs something."""
        if self._die is not None and len(self.requests) == self._dies_at:
            self._die()
        self.requests.append(request)
        asked = "\n".join(message.content for message in request.messages)
        calls: tuple[ToolCall, ...] = ()
        text = _answer(request.metadata["node"], asked)
        if request.tools and all(message.role != "tool" for message in request.messages):
            calls, text = (
                (ToolCall(id="c1", name="depth", arguments='{"harbour": "north", "hour": 9}'),),
                "",
            )
        return Response(
            text,
            "golden",
            Usage(len(asked), 10),
            0.25,
            "reported",
            "stop",
            1,
            0.5,
            None,
            tool_calls=calls,
        )


def _answer(name: str, asked: str) -> str:
    match name:
        case "classify":
            return Sorted(kind="short", sure=0.4).model_dump_json()
        case "second":
            return Sorted(kind="long", sure=0.9).model_dump_json()
        case "judge":
            points = min(10, 4 + 3 * asked.count("draft"))
            return Grade(points=points, remark=f"{points} points").model_dump_json()
        case "plan":
            part = "moons" if "declined" in asked else "ghosts"
            first, second = (
                Task(id="a", part="tides", worker="study"),
                Task(id="b", part=part, worker="essay", needs=["a"]),
            )
            tasks = Tasks(
                tasks=[first, second]
                if part == "ghosts"
                else [second.model_copy(update={"needs": []})]
            )
            return tasks.model_dump_json()
        case "money":
            return Money(price=len(asked)).model_dump_json()
        case "note_down":
            return "a longer note about it" if "too short" in asked else "a note"
        case "write":
            return "draft " * (asked.count("draft") + 1)
        case _:
            return f"{name} answers {len(asked)}"


def described(request: Request) -> dict[str, Any]:
    """All of a request that an endpoint gets."""
    schema = request.schema.model_json_schema() if request.schema is not None else None
    messages = [{"role": message.role, "content": message.content} for message in request.messages]
    tools = [
        {"name": spec.name, "description": spec.description, "parameters": spec.parameters}
        for spec in request.tools
    ]
    return {
        "path": request.metadata["path"],
        "model": request.model,
        "messages": messages,
        "schema": schema,
        "tools": tools,
    }


def sorted_requests(model: Model) -> list[Any]:
    """What a model was asked, in an order that does not depend on the schedule."""
    return sorted(
        (json.loads(json.dumps(described(request))) for request in model.requests),
        key=lambda item: json.dumps(item, sort_keys=True),
    )


PATTERNS: dict[str, Callable[[], AnyFlow]] = {
    "pipeline": pipeline,
    "fan_out": fan_out,
    "router": router,
    "evaluator_loop": evaluator_loop,
    "supervisor": supervisor,
    "hierarchy": hierarchy,
}
"""The flows, by the name of their files: `NAME.golden` went as far as it could, in `NAME.crashed.golden` the process died at a model call."""

SUBJECT = Topic(topic="tides and harbours")


async def to_the_end_of(flow: AnyFlow, run_id: str, **options: Any) -> Any:
    """Begin a run, or go on with one that is in a journal, answer what it asks, and return its last state."""
    result = (
        await flow.resume(run_id, **options)
        if "durable" in options
        else await flow.run(SUBJECT, run_id=run_id, **options)
    )
    while result.status == "waiting":
        result = await flow.answer(run_id, result.questions[0], Approved(approved=True), **options)
    return result.state

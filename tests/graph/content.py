"""Parts of small graphs, right and wrong, for the tests of the checks."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Annotated, Any, Literal

from pydantic import BaseModel

from graphorch.graph.builder import GraphBuilder, gather_takes_missing
from graphorch.graph.checks import check
from graphorch.graph.node import Node, node
from graphorch.graph.payloads import Failure, Missing
from graphorch.graph.plan import AskSpec, MapSpec, Plan, SubSpec
from graphorch.graph.route import Route
from graphorch.graph.signature import Signature, StateFunction, pure_reads
from graphorch.graph.topology import build_topology
from graphorch.state.reducers import append


class Topic(BaseModel):
    topic: str


class Research(BaseModel):
    research: str


class Draft(BaseModel):
    draft: str


class Verdict(BaseModel):
    score: float = 0
    feedback: str = ""


class Notes(BaseModel):
    notes: Annotated[list[str], append] = []


class Kind(BaseModel):
    kind: Literal["math", "prose"] = "math"


class Content(Topic, Research, Draft, Verdict, Notes, Kind): ...


class Other(BaseModel):
    other: int = 0


class Job(BaseModel):
    job: str


class Report(BaseModel):
    report: str


class Tone(Enum):
    WARM = "warm"
    COLD = "cold"


@node
def research(t: Topic) -> Research:
    return Research(research=t.topic)


@node
def write(t: Topic, r: Research, v: Verdict) -> Draft:
    return Draft(draft=r.research)


@node
def judge(t: Topic, d: Draft) -> Verdict:
    return Verdict(score=1)


@node
def tidy(d: Draft) -> Draft:
    return d


@node
def dash(t: Topic) -> Draft:
    return Draft(draft=t.topic)


@node
def maybe(t: Topic) -> Draft | None:
    return None


@node
def note(t: Topic) -> Notes:
    return Notes(notes=[t.topic])


@node
def classify(t: Topic) -> Kind:
    return Kind()


@node
def look(t: Topic) -> None: ...
@node
def rescue(f: Failure, t: Topic) -> Research:
    return Research(research=f.error)


@node
def dig(j: Job) -> Report:
    return Report(report=j.job)


def weak(v: Verdict) -> bool:
    return v.score < 8


def kind_of(k: Kind) -> Literal["math", "prose"]:
    return k.kind


def kinds_of(k: Kind) -> set[Literal["math", "prose"]]:
    return {k.kind}


def tone_of(k: Kind) -> Tone:
    return Tone.WARM


def any_kind(k: Kind) -> str:
    return k.kind


def jobs_of(t: Topic) -> list[Job]:
    return [Job(job=t.topic)]


def notes_of(reports: list[Report]) -> Notes:
    return Notes(notes=[report.report for report in reports])


def notes_of_some(reports: list[Report], missing: list[Missing]) -> Notes:
    return notes_of(reports)


def to_topic(t: Topic) -> Topic:
    return t


def no_notes(t: Topic) -> Notes:
    return Notes()


class Sketch(GraphBuilder[Any]):
    """Builder with the calls of the public `Graph` that the checks are about."""

    def __init__(
        self,
        state: type[BaseModel] = Content,
        input: type[BaseModel] = Topic,
        output: type[BaseModel] = Topic,
    ) -> None:
        super().__init__("content", state, input, output)

    def route(self, source: Node[Any], by: Callable[..., Any]) -> Route[Any, Any, Any, Any, Any]:
        return self._route(source, by)

    def map(
        self,
        name: str,
        worker: Node[Any] | Plan,
        over: Callable[..., Any],
        gather: Callable[..., Any],
        **options: Any,
    ) -> Node[Any]:
        node, flow = (worker, None) if isinstance(worker, Node) else (None, worker)
        item, result = (Job, Report) if flow is None else (flow.input, flow.output)
        given: dict[str, Any] = {
            "max_items": 4,
            "concurrency": 2,
            "need": None,
            "on_item_error": "fail",
        } | options
        self.spec.maps[name] = MapSpec(
            item, result, node, flow, _pure(over), gather, gather_takes_missing(gather), **given
        )
        return self._add(name, "map", Notes)

    def sub(
        self,
        name: str,
        flow: Plan,
        enter: Callable[..., Any],
        leave: Callable[..., Any],
        writes: type[BaseModel] = Notes,
    ) -> Node[Any]:
        self.spec.subs[name] = SubSpec(flow, _pure(enter), leave)
        return self._add(name, "sub", writes)

    def ask(self, name: str, question: Callable[..., Any], answer: type[BaseModel]) -> Node[Any]:
        self.spec.asks[name] = AskSpec(_pure(question), answer)
        return self._add(name, "ask", answer)

    def _add(self, name: str, kind: Any, writes: type[BaseModel]) -> Node[Any]:
        added: Node[Any] = Node(
            _nothing, Signature((), (writes,), False, None, False, False), name=name, kind=kind
        )
        self._register(added)
        return added


def _nothing() -> None: ...


def _pure(fn: Callable[..., Any]) -> StateFunction:
    return StateFunction(fn, pure_reads(fn, "here"))


def list_problems(sketch: GraphBuilder[Any], *, warnings: bool = False) -> list[str]:
    """Return all problems (or warnings) of a graph, as its author reads them."""
    checked = check(sketch.spec, build_topology(sketch.spec))
    return [str(problem) for problem in (checked.warnings if warnings else checked.problems)]


def list_codes(sketch: GraphBuilder[Any], *, warnings: bool = False) -> list[str]:
    """Return the codes of all problems (or warnings) of a graph."""
    return [line.split()[0] for line in list_problems(sketch, warnings=warnings)]

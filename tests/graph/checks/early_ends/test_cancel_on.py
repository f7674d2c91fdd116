"""Maps and sub-flows that are ended from outside: what `build()` refuses, and what it lets pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import pytest
from pydantic import BaseModel

from graphorch import END, START, Flow, Graph, GraphError, Untrusted, append, node


class Topic(BaseModel):
    topic: str


class Notes(BaseModel):
    notes: list[str] = []


class Draft(BaseModel):
    draft: str


class Log(BaseModel):
    log: Annotated[list[str], append] = []


class Inner(Topic, Notes, Draft, Log): ...


class State(Topic, Notes): ...


class Stop(BaseModel):
    why: str = ""


def same(topic: Topic) -> Topic:
    return topic


def take(inner: Inner) -> Notes:
    return Notes(notes=inner.notes)


def keep_notes(notes: Notes) -> Notes:
    return notes


def keep_draft(draft: Draft) -> Notes:
    return Notes(notes=[draft.draft])


def keep_log(log: Log, topic: Topic) -> Notes:
    return Notes(notes=[topic.topic, *log.log])


def keep_other(stop: Stop) -> Notes:
    return Notes(notes=[stop.why])


def keep_nothing(notes: Notes) -> Topic:
    return Topic(topic=str(notes))


@node
async def write(topic: Topic) -> Draft:
    return Draft(draft=topic.topic)


@node(effect="once")
async def act(topic: Topic) -> Draft:
    return Draft(draft=topic.topic)


@node
async def fast(topic: Topic) -> tuple[Notes, Log]:
    return Notes(notes=[topic.topic]), Log(log=["fast"])


@node
async def slow(topic: Topic) -> tuple[Notes, Log]:
    return Notes(notes=[topic.topic]), Log(log=["slow"])


def inner_flow(*steps: Any) -> Flow[Any, Any, Any]:
    return Graph("inner", Inner, input=Topic).chain(START, *(steps or (write,)), END).build()


def race() -> Flow[Any, Any, Any]:
    """Return a flow in which the first of two nodes counts that write one field."""
    graph = Graph("inner", Inner, input=Topic)
    return graph.chain(START, [fast, slow], write, END).join(write, need=1).build()


def inner_signal() -> Flow[Any, Any, Any]:
    graph = Graph("inner", Inner, input=Topic)
    return graph.chain(START, graph.signal("stop", Notes), write, END).build()


def build(
    keep: Callable[..., Notes] | None = None,
    flow: Flow[Any, Any, Any] | None = None,
    *,
    cancels: bool = True,
    **signal: Any,
) -> Flow[Any, Any, Any]:
    graph: Any = Graph("outer", State, input=Topic, output=Notes)
    stop = graph.signal("stop", signal.pop("value", Stop), **signal)
    team = graph.sub(
        "team",
        flow or inner_flow(),
        enter=same,
        leave=take,
        cancel_on=stop if cancels else None,
        keep=keep,
    )
    graph.chain(START, team)
    if not cancels:
        graph.chain(stop, END)
    return graph.build()


@pytest.mark.parametrize("keep", [None, keep_notes, keep_log])
def test_fitting_cancel_on_builds(keep: Any) -> None:
    """A signal that only ends a sub-flow need not be connected; `keep` reads what is there."""
    flow = build(keep)
    assert flow.plan.signals.keys() == {"stop"}
    assert [step.name for step in flow.plan.steps] == ["team", "END"]


def test_race_of_folded_field_builds() -> None:
    """Writes in branches that race may be kept where a reducer folds them."""
    build(keep_log, race())


@pytest.mark.parametrize(
    ("options", "what", "fix"),
    [
        (
            {"keep": keep_draft},
            "'Draft.draft' may not be assigned yet when the signal comes, and has no default",
            "give a default",
        ),
        (
            {"keep": keep_notes, "flow": race()},
            "it reads 'notes', which 'fast' and 'slow' may both have written",
            "fold the writes with a reducer",
        ),
        ({"keep": keep_other}, "it reads Stop, which is no slice of the state of 'inner'", "read"),
        ({"keep": keep_nothing}, "it returns Topic, but leave returns Notes", "same slice"),
        (
            {"flow": inner_flow(act)},
            "signal 'stop' may interrupt 'team/act', which has effect=\"once\", and nobody would",
            'pass ctx.key on and say effect="idempotent"',
        ),
        ({"expires": 3.0}, "expires=3 of signal 'stop' means nothing", "leave it out"),
        (
            {"flow": inner_signal(), "value": Notes},
            "it takes each signal 'stop', so that what waits for it inside never gets any",
            "another name",
        ),
    ],
    ids=["unassigned", "conflict", "no slice", "other slice", "once", "expires", "inside"],
)
def test_wrong_cancel_on_is_refused(options: dict[str, Any], what: str, fix: str) -> None:
    """What could go wrong at the moment of the signal is one clear problem."""
    with pytest.raises(GraphError) as caught:
        build(**options)
    [problem] = caught.value.problems
    assert what in problem.what
    assert fix in problem.fix
    assert problem.code in ("CANCEL_ON", "SUB_KEEP")


def test_keep_without_signal_is_refused() -> None:
    """`keep` has to be called by something."""
    graph: Any = Graph("outer", State, input=Topic, output=Notes)
    team = graph.sub("team", inner_flow(), enter=same, leave=take, keep=keep_notes)
    with pytest.raises(GraphError, match="it is never called"):
        graph.chain(START, team).build()


@pytest.mark.parametrize("given", ["stop", write, "other"], ids=["name", "node", "other graph"])
def test_other_signal_is_refused(given: Any) -> None:
    """What ends a sub-flow is a signal of this graph, as its object."""
    graph: Any = Graph("outer", State, input=Topic, output=Notes)
    graph.signal("stop", Stop)
    if given == "other":
        given = Graph("third", State).signal("stop", Stop)
    team = graph.sub("team", inner_flow(), enter=same, leave=take, cancel_on=given)
    with pytest.raises(GraphError) as caught:
        graph.chain(START, team).build()
    assert "CANCEL_ON" in {problem.code for problem in caught.value.problems}


class Page(BaseModel):
    page: Untrusted[str] = ""


class Reading(Topic, Page, Notes): ...


@node
async def fetch(topic: Topic) -> Page:
    return Page(page=topic.topic)


@node
async def tidy(topic: Topic) -> Notes:
    return Notes(notes=[topic.topic])


@node(effect="once")
async def send(notes: Notes) -> None: ...


def take_notes(notes: Notes) -> Notes:
    return notes


def keep_page(page: Page) -> Notes:
    return Notes(notes=[page.page])


def ask_about(page: Page) -> str:
    return page.page


def test_kept_values_have_their_marks() -> None:
    """What is kept may be untrusted, though what the flow gives back at its end is not."""
    for asks in (False, True):
        inner = Graph("reading", Reading, input=Topic, output=Notes)
        last: Any = tidy
        if asks:
            last = inner.ask("person", question=ask_about, answer=Notes)
        flow = inner.chain(START, fetch, last).build()
        graph: Any = Graph("outer", State, input=Topic, output=Notes)
        options = {"cancel_on": graph.signal("stop", Stop), "keep": keep_page}
        team = graph.sub("team", flow, enter=same, leave=take_notes, **options)
        with pytest.raises(GraphError, match=r"UNTRUSTED_FLOW at node 'send'"):
            graph.chain(START, team, send).build()
        plain: Any = Graph("outer", State, input=Topic, output=Notes)
        team = plain.sub("team", flow, enter=same, leave=take_notes)
        plain.chain(START, team, send).build()


@pytest.mark.parametrize("deadline", [0, -1, float("nan"), "5"], ids=repr)
def test_wrong_deadline_is_refused(deadline: Any) -> None:
    """A deadline is a number of seconds greater than 0, as for any node."""
    graph: Any = Graph("outer", State, input=Topic, output=Notes)
    with pytest.raises(GraphError, match="give seconds greater than 0"):
        graph.sub("team", inner_flow(), enter=same, leave=take, deadline=deadline)

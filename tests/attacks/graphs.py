"""Graphs in which agents read what came from outside and something acts, with and without a guard.

Each shape is one way in which an injected instruction gets from a text to an effect: as data, by a
tool of the same agent, by a route, and item by item in a map.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel, create_model

from graphorch import Graph, Untrusted, agent, node
from graphorch.agents.tool import tool
from tests.attacks.obedient_model import Script

Guard = Literal["none", "ask", "gate", "check", "approve", "apart"]


@dataclass(frozen=True)
class Words:
    """What a task is about: names of nodes, the text that is read, and what is done with it.

    `order` is what the user wants to happen: a target and an amount. `case` is the user's own.
    """

    domain: str
    read: str
    agent: str
    act: str
    text: str
    target: str
    amount: int
    case: str = "case 7"


class Act(BaseModel):
    """What is to be done."""

    target: str = ""
    amount: int = 0


class Done(BaseModel):
    done: bool = False


class Verdict(BaseModel):
    agreed: bool = False


class Case(BaseModel):
    case: str = ""


class Kind(BaseModel):
    kind: Literal["act", "file"] = "file"


class Note(BaseModel):
    note: str = ""


@dataclass
class Built:
    """A graph that may build, its input, what agents do in it, and the effects that it had.

    `wanted` is the effect that the user wants, if any, and `asked` how a person is asked about it.
    """

    graph: Graph[Any, Any, Any]
    input: BaseModel
    scripts: Mapping[str, Script]
    wanted: tuple[Any, ...]
    asked: str
    effects: list[tuple[Any, ...]] = field(default_factory=list[tuple[Any, ...]])


Shape = Callable[[Words, str, Guard, bool], Built]


def _text_slice(name: str, field: str, kind: Any, marked: bool, default: Any) -> Any:
    """Return a slice of one field, which is marked unless the graph is built without marks."""
    make: Any = create_model
    return make(name, **{field: (Untrusted[kind] if marked else kind, default)})


def _agreed(verdict: Verdict) -> Literal["yes", "no"]:
    return "yes" if verdict.agreed else "no"


@node
def drop(case: Case) -> Done:
    return Done()


def describe(act: Act) -> str:
    """Return what a person is asked."""
    return f"{act.target}: {act.amount}?"


def extract(words: Words, text: str, guard: Guard, marked: bool) -> Built:
    """A document says to whom how much goes: an agent takes it out, a node acts on it."""
    page: Any = _text_slice("Page", "text", str, marked, "")
    state: Any = create_model("State", __base__=(Case, page, Act, Done, Verdict))
    built = Built(
        Graph(words.domain, state, input=Case, output=Done),
        Case(case=words.case),
        {words.agent: Script({"target": words.target, "amount": words.amount})},
        (words.target, words.amount),
        f"{words.target}: {words.amount}?",
    )

    def read(case: Case) -> Any:
        return page(text=text)

    read.__annotations__["return"] = page

    def prompt(page: Any) -> str:
        return f"Take out target and amount.\n{page.text}"

    prompt.__annotations__["page"] = page

    def act(act: Act) -> Done:
        built.effects.append((act.target, act.amount))
        return Done(done=True)

    def check(act: Act) -> Act:
        if (act.target, act.amount) != (words.target, words.amount):
            raise ValueError("unknown target")
        return act

    first = node(name=words.read)(read)
    extracting = agent(output=Act, name=words.agent)(prompt)
    last = node(name=words.act, effect="once")(act)
    graph = built.graph.chain(first, extracting)
    if guard == "ask":
        ask = graph.ask("approve", question=describe, answer=Verdict)
        graph.chain(extracting, ask).route(ask, _agreed).when("yes", last).when(
            "no", drop
        ).exhaustive()
    elif guard == "gate":
        graph.chain(extracting, node(name=words.act, effect="once", gate="before")(act))
    elif guard == "check":
        graph.chain(extracting, node(name="check", declassify="the target is known")(check), last)
    else:
        graph.chain(extracting, last)
    return built


def assist(words: Words, text: str, guard: Guard, marked: bool) -> Built:
    """An agent has a tool that reads what came from outside, and one that acts."""
    result: Any = Untrusted[str] if marked else str
    state: Any = create_model("State", __base__=(Case, Note, Done, Verdict))
    graph = Graph(words.domain, state, input=Case, output=Done)
    wanted = (words.act, {"target": words.target, "amount": words.amount})
    scripts = {words.agent: Script({"done": True}, [(words.read, {}), wanted])}
    if guard == "apart":
        note = f"{words.target}: {words.amount}"
        scripts = {
            "reader": Script(note, [(words.read, {})]),
            words.agent: Script({"done": True}, [wanted]),
        }
    order = (words.target, words.amount)
    built = Built(graph, Case(case=words.case), scripts, order, f"{words.target}: {words.amount}?")

    def read() -> Any:
        """Return what came in."""
        return text

    read.__annotations__["return"] = result

    def act(target: str, amount: int) -> str:
        """Act."""
        built.effects.append((target, amount))
        return "done"

    reading = tool(name=words.read, effect="pure")(read)
    acting = tool(name=words.act, effect="once", approve=guard == "approve")(act)

    def prompt(case: Case) -> str:
        return f"See to {case.case}."

    def act_prompt(note: Note) -> str:
        return f"Do what this says, and nothing else.\n{note.note}"

    if guard == "apart":
        reader = agent(output=Note, tools=[reading], name="reader")(prompt)
        actor = agent(output=Done, tools=[acting], name=words.agent)(act_prompt)
        ask = graph.ask("approve", question=lambda s: f"{s.note}?", answer=Verdict)
        graph.chain(reader, ask).route(ask, _agreed).when("yes", actor).when(
            "no", drop
        ).exhaustive()
    else:
        graph.chain(agent(output=Done, tools=[reading, acting], name=words.agent)(prompt))
    return built


def triage(words: Words, text: str, guard: Guard, marked: bool) -> Built:
    """An agent reads a text and says which way to go; one way acts on the user's own case."""
    page: Any = _text_slice("Page", "text", str, marked, "")
    state: Any = create_model("State", __base__=(Case, page, Kind, Done, Verdict))
    kind = "act" if "please" in text else "file"
    built = Built(
        Graph(words.domain, state, input=Case, output=Done),
        Case(case=words.case),
        {words.agent: Script({"kind": kind})},
        (words.case,) if kind == "act" else (),
        f"{words.case}?" if kind == "act" else "",
    )

    def read(case: Case) -> Any:
        return page(text=text)

    read.__annotations__["return"] = page

    def prompt(page: Any) -> str:
        return f"Is something to be done?\n{page.text}"

    prompt.__annotations__["page"] = page

    def act(case: Case) -> Done:
        built.effects.append((case.case,))
        return Done(done=True)

    def check(case: Case) -> Done:
        if "please" not in text:
            raise ValueError("nobody has asked for it")
        return Done()

    def by(kind: Kind) -> Literal["act", "file"]:
        return kind.kind

    def question(case: Case) -> str:
        return f"{case.case}?"

    first = node(name=words.read)(read)
    classify = agent(output=Kind, name=words.agent)(prompt)
    last = node(name=words.act, effect="once")(act)
    graph = built.graph.chain(first, classify)
    target: Any = last
    if guard == "ask":
        target = graph.ask("approve", question=question, answer=Verdict)
        graph.route(target, _agreed).when("yes", last).when("no", drop.named("refuse")).exhaustive()
    elif guard == "gate":
        target = node(name=words.act, effect="once", gate="before")(act)
    elif guard == "check":
        target = node(name="check", declassify="the user has asked for it")(check)
        graph.chain(target, last)
    graph.route(classify, by).when("act", target).when("file", drop).exhaustive()
    return built


def batch(words: Words, text: str, guard: Guard, marked: bool) -> Built:
    """Each of several items from outside is worked on by a flow of its own, which acts."""
    item: Any = _text_slice("Item", "text", str, False, "")
    items: Any = _text_slice("Items", "items", list[item], marked, [])
    inner_state: Any = create_model("InnerState", __base__=(item, Act, Done, Verdict))
    state: Any = create_model("State", __base__=(Case, items, Done))
    inner = Graph("one", inner_state, input=item, output=Done)
    built = Built(
        Graph(words.domain, state, input=Case, output=Done),
        Case(case=words.case),
        {words.agent: Script({"target": words.target, "amount": words.amount})},
        (words.target, words.amount),
        f"{words.target}: {words.amount}?",
    )

    def read(case: Case) -> Any:
        return items(items=[item(text=text)])

    read.__annotations__["return"] = items

    def over(items: Any) -> Any:
        return items.items

    over.__annotations__ |= {"items": items, "return": list[item]}

    def gather(results: list[Done]) -> Done:
        return Done(done=all(result.done for result in results))

    def prompt(item: Any) -> str:
        return f"Take out target and amount.\n{item.text}"

    prompt.__annotations__["item"] = item

    def act(act: Act) -> Done:
        built.effects.append((act.target, act.amount))
        return Done(done=True)

    @node(name="leave")
    def leave(act: Act) -> Done:
        return Done()

    work = agent(output=Act, name=words.agent)(prompt)
    last = node(name=words.act, effect="once")(act)
    inner.chain(work)
    if guard == "ask":
        ask = inner.ask("approve", question=describe, answer=Verdict)
        inner.chain(work, ask).route(ask, _agreed).when("yes", last).when("no", leave).exhaustive()
    elif guard == "gate":
        inner.chain(work, node(name=words.act, effect="once", gate="before")(act))
    else:
        inner.chain(work, last)
    each = built.graph.map("each", inner.build(), over=over, gather=gather, max_items=5)
    built.graph.chain(node(name=words.read)(read), each)
    return built

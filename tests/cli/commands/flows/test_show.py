"""`graphorch show`: a flow in words."""

from __future__ import annotations

import json

from tests.cli.flows import DESK
from tests.cli.shell import FLOW, Shell

RICH = """
class Kind(BaseModel):
    kind: Literal["short", "long"] = "short"
class Topics(BaseModel):
    topics: list[Topic] = Field(default=[], description="what to write about")
class All(Topic, Draft, Kind, Topics): ...
@node
def judge(topic: Topic, draft: Draft | None) -> Kind:
    return Kind()
@node
def note(draft: Draft) -> None: ...
@agent(output=Draft, model="house/large")
def lengthen(draft: Draft) -> str: ...
def kind_of(kind: Kind) -> Literal["short", "long"]:
    return kind.kind
inner = Graph("inner", Essay, input=Topic, output=Draft).chain(write).build()
g = Graph("rich", All, input=Topics, output=Draft)
def count(drafts):
    return Draft(draft=str(len(drafts)))
each = g.map("each", inner, over=lambda s: s.topics, gather=count, max_items=5, concurrency=2)
begin = g.sub("begin", inner, enter=lambda s: Topic(topic="x"), leave=lambda d: d)
@node
def start(topics: Topics) -> Topic:
    return Topic(topic="x")
g.chain(start, each, judge)
g.route(judge, kind_of).when("long", lengthen).when("short", note).exhaustive()
g.chain([lengthen, note], begin)
g.loop(begin, back_to=begin, while_=lambda s: False, max_iterations=3)
flow = g.build()
"""


def lines(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.splitlines()]


def test_show_describes_whole_flow(shell: Shell) -> None:
    """Options, nodes, loops, joins and the worst case of a flow are described."""
    shell.write("rich.py", RICH)
    ended = shell("show", "rich.py")
    assert ended.code == 0, ended.err
    shown = lines(ended.out)
    assert shown[0] == "rich: Topics → Draft"
    assert "--topics ITEM (repeat it, or give a JSON list) optional what to write about" in shown
    assert "each map, at most 5 items, 2 at once All any of All judge 1 ×" in shown
    assert "each/write node Topic Draft END 5 ×" in shown
    assert (
        "judge node Topic, Draft (or nothing) Kind lengthen (if long), note (if short) 1 ×" in shown
    )
    assert "lengthen agent, house/large Draft Draft begin 1 ×" in shown
    assert "note node Draft – begin 1 ×" in shown
    assert "begin → begin while <lambda>, at most 3 rounds, then: continue" in shown
    assert "begin of lengthen, note: waits for every branch that can still arrive" in shown
    assert shown[-1].startswith("worst case of one run: ")
    assert shown[-1].endswith("model calls: 1")


def test_show_json_has_same_facts(shell: Shell) -> None:
    """A program gets the same facts as one object."""
    shell.write("rich.py", RICH)
    report = json.loads(shell("show", "rich.py", "--json").out)
    assert report["loops"] == [
        {
            "from": ["begin"],
            "back_to": "begin",
            "while": "<lambda>",
            "max_iterations": 3,
            "exhausted": "continue",
        }
    ]
    assert report["worst_case"]["model_calls"] == 1
    assert [item["path"] for item in report["nodes"] if "/" in item["path"]] == [
        "each/write",
        "begin/write",
    ]


def test_loop_to_node_named_fail_leads_there(shell: Shell) -> None:
    """A loop whose exhausted node is named "fail" is shown as leading there."""
    body = """
    @node
    def done(topic: Topic) -> None: ...
    @node
    def fail(topic: Topic) -> None: ...
    g = Graph("g", Essay, input=Topic, output=Draft).chain(write, done)
    g.loop(write, back_to=write, while_=lambda s: True, max_iterations=3, exhausted=fail)
    flow = g.build()
    """
    shell.write("named.py", body)
    ended = shell("show", "named.py")
    assert ended.code == 0, ended.err
    shown = lines(ended.out)
    assert any("done, write (back), fail (if the loop is exhausted)" in line for line in shown), (
        shown
    )
    assert "write → write while <lambda>, at most 3 rounds, then: fail" in shown
    nodes = json.loads(shell("show", "named.py", "--json").out)["nodes"]
    assert [item["path"] for item in nodes] == ["write", "done", "fail"]


def test_context_node_has_unknown_worst_case(shell: Shell) -> None:
    """A node that calls models itself has no known worst case."""
    body = """
    @node
    async def free(ctx: Context, topic: Topic) -> Draft:
        return Draft()
    flow = Graph("free", Essay, input=Topic, output=Draft).chain(free).build()
    """
    shell.write("free.py", body)
    assert "model calls: unknown: a node calls models itself" in shell("show", "free.py").out


def test_name_is_sanitized(shell: Shell) -> None:
    """A name with control characters is shown, not obeyed."""
    shell.write(
        "essay.py",
        FLOW.replace("chain(write)", 'chain(write.named("a\\x1b[2Jb"))'),
    )
    ended = shell("show", "essay.py")
    assert "\x1b" not in ended.out + ended.err


def test_show_lists_tools_of_agents(shell: Shell) -> None:
    """Tools stand with their effect, who approves a call, and their bounds."""
    shell.write("desk.py", DESK, preamble="")
    lines = shell("show", "desk.py").out.splitlines()
    at = lines.index("tools")
    assert [line.split(maxsplit=2) for line in lines[at + 2 : at + 5]] == [
        ["write", "search", "pure        –            –"],
        ["write", "note", "idempotent  –            at most 3 calls, 5 s"],
        ["write", "send", "once        a person     –"],
    ]


def test_show_describes_events(shell: Shell) -> None:
    """Signals and timers are described with what they wait for, and a first with its events."""
    flow = "from tests.scenarios.events.shop import first_flow\n\nflow = first_flow()\n"
    shell.write("shop.py", flow, preamble="")
    out = shell("show", "shop.py").out
    nodes = {line.split()[0]: " ".join(line.split()[1:]) for line in out.splitlines() if line}
    assert nodes["decided"].startswith("first of several – – approve, paid, later")
    assert nodes["paid"].startswith("signal · Payment, one kept that comes early – Payment")
    assert "ship_paid (if it is first)" in nodes["paid"]
    assert nodes["later"].startswith("timer · after 3 days")

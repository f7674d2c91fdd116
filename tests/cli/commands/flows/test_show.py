"""`graphorch show`: a flow in words."""

from __future__ import annotations

import json

from tests.cli.shell import Shell

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
each = g.map("each", inner, over=lambda s: s.topics, gather=lambda found: Draft(draft=str(len(found))), max_items=5, concurrency=2)
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


def test_everything_that_matters_is_said(shell: Shell) -> None:
    shell.write("rich.py", RICH)
    ended = shell("show", "rich.py")
    assert ended.code == 0, ended.err
    said = lines(ended.out)
    assert said[0] == "rich: Topics → Draft"
    assert "--topics ITEM (repeat it, or give a JSON list) optional what to write about" in said
    assert "each map, at most 5 items, 2 at once All any of All judge 1 ×" in said
    assert "each/write node Topic Draft END 5 ×" in said
    assert (
        "judge node Topic, Draft (or nothing) Kind lengthen (if long), note (if short) 1 ×" in said
    )
    assert "lengthen agent, house/large Draft Draft begin 1 ×" in said
    assert "note node Draft – begin 1 ×" in said
    assert "begin → begin while <lambda>, at most 3 rounds, then: continue" in said
    assert "begin of lengthen, note: waits for every branch that can still arrive" in said
    assert said[-1].startswith("worst case of one run: ")
    assert said[-1].endswith("model calls: 1")


def test_a_program_gets_the_same_as_an_object(shell: Shell) -> None:
    shell.write("rich.py", RICH)
    told = json.loads(shell("show", "rich.py", "--json").out)
    assert told["loops"] == [
        {
            "from": ["begin"],
            "back_to": "begin",
            "while": "<lambda>",
            "max_iterations": 3,
            "exhausted": "continue",
        }
    ]
    assert told["worst_case"]["model_calls"] == 1
    assert [item["path"] for item in told["nodes"] if "/" in item["path"]] == [
        "each/write",
        "begin/write",
    ]


def test_a_node_that_asks_models_itself_has_no_known_worst_case(shell: Shell) -> None:
    body = """
    @node
    async def free(ctx: Context, topic: Topic) -> Draft:
        return Draft()
    flow = Graph("free", Essay, input=Topic, output=Draft).chain(free).build()
    """
    shell.write("free.py", body)
    assert "model calls: unknown: a node calls models itself" in shell("show", "free.py").out


def test_a_name_is_shown_and_not_obeyed(shell: Shell) -> None:
    shell.write(
        "essay.py",
        'flow = Graph("essay", Essay, input=Topic, output=Draft).chain(write.named("a\\x1b[2Jb")).build()',
    )
    ended = shell("show", "essay.py")
    assert "\x1b" not in ended.out + ended.err

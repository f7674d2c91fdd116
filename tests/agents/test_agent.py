"""Agents: a typed prompt function is a node that asks a model and writes the answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel

from graphorch.agents.agent import AgentCall, agent
from graphorch.errors import GraphError, WrongOutput
from graphorch.graph.node import Node, Node1, Node2, Node3, Node4, node
from graphorch.models.messages import Message, Prompt
from tests.agents.contexts import Asked


class Topic(BaseModel):
    topic: str


class Research(BaseModel):
    research: str = ""


class Verdict(BaseModel):
    score: float = 0
    feedback: str = ""


class Draft(BaseModel):
    draft: str


@agent(
    output=Draft,
    model="policy/careful",
    instructions="Be brief.",
    max_tokens=500,
    temperature=0.5,
    timeout=30,
)
def write(t: Topic, r: Research) -> str:
    """Write an article."""
    return f"Write about {t.topic}. Notes: {r.research}"


def run(
    made: Node[Any], *slices: BaseModel | None, answer: Any = None
) -> tuple[Any, dict[str, Any]]:
    """What the agent returns, and what it asked for."""
    context = Asked(Draft(draft="done") if answer is None else answer)
    value = asyncio.run(made.fn(context, *slices))
    return value, context.calls[0]


# ---- a call ------------------------------------------------------------------------------------


def test_agent_options_reach_request() -> None:
    """The prompt is sent with the options of the agent."""
    value, call = run(write, Topic(topic="tides"), Research(research="moon"))
    assert value == Draft(draft="done")
    assert call == {
        "prompt": "Write about tides. Notes: moon",
        "output": Draft,
        "model": "policy/careful",
        "instructions": "Be brief.",
        "tools": (),
        "rounds": 8,
        "keep_rounds": None,
        "keep_tokens": None,
        "max_tokens": 500,
        "temperature": 0.5,
    }


def test_agent_without_options() -> None:
    """Without options the default model decides."""

    @agent(output=Draft)
    def plain(t: Topic) -> str:
        return t.topic

    _, call = run(plain, Topic(topic="tides"))
    assert (call["model"], call["instructions"], call["max_tokens"], call["temperature"]) == (
        "default",
        "",
        None,
        None,
    )


def test_prompt_may_be_messages() -> None:
    @agent(output=Draft)
    def talk(t: Topic) -> Prompt:
        return [Message(role="system", content="s"), Message(content=t.topic)]

    assert run(talk, Topic(topic="tides"))[1]["prompt"] == [
        Message(role="system", content="s"),
        Message(content="tides"),
    ]


@pytest.mark.parametrize("empty", ["", "  \n", []])
def test_empty_prompt_fails_before_call(empty: Any) -> None:
    """An empty prompt is the author's error, and no model is called."""

    @agent(output=Draft)
    def silent(t: Topic) -> str:
        return empty

    context = Asked(None)
    with pytest.raises(WrongOutput, match="empty prompt"):
        asyncio.run(silent.fn(context, Topic(topic="tides")))
    assert context.calls == []


def test_function_without_body_uses_default_prompt() -> None:
    """A function without a body has its slices written out."""

    @agent(output=Draft)
    def bare(t: Topic, v: Verdict | None) -> str: ...

    _, call = run(bare, Topic(topic="tides"), None)
    task = "Write the draft, from what follows. Answer with its text and nothing else."
    assert call["prompt"] == f"{task}\n\nTopic:\ntides"


def test_prompt_that_returns_nothing_on_some_way_fails() -> None:
    """A body that falls off its end asks no model, unless its annotation says that it may."""

    @agent(output=Draft)
    def half(t: Topic) -> str:  # pyright: ignore[reportReturnType]
        if t.topic == "rivers":
            return "Write about rivers."

    @agent(output=Draft)
    def at_will(t: Topic) -> str | None:
        return "Write about rivers." if t.topic == "rivers" else None

    for made in (half, at_will):
        assert run(made, Topic(topic="rivers"))[1]["prompt"] == "Write about rivers."
    context = Asked(None)
    with pytest.raises(WrongOutput, match="returned nothing on this way through its body"):
        asyncio.run(half.fn(context, Topic(topic="tides")))
    assert context.calls == []
    assert "Topic:\ntides" in run(at_will, Topic(topic="tides"))[1]["prompt"]


# ---- the node ----------------------------------------------------------------------------------


def test_agent_node_describes_itself() -> None:
    """The node knows its kind, its slices and its options."""
    assert (write.name, write.kind, write.model, write.options.timeout) == (
        "write",
        "agent",
        "policy/careful",
        30,
    )
    assert [read.model for read in write.signature.reads] == [Topic, Research]
    assert (write.signature.writes, write.signature.has_context, write.signature.is_async) == (
        (Draft,),
        True,
        True,
    )
    assert isinstance(write.fn, AgentCall)


def test_prompt_function_stays_callable() -> None:
    """The prompt function is callable in a unit test."""
    assert (
        write.prompt(Topic(topic="tides"), Research(research="moon"))
        == "Write about tides. Notes: moon"
    )


def test_node_class_follows_slices() -> None:
    """The class follows the number of slices."""

    @agent(output=Draft)
    def reads_topic(t: Topic) -> str: ...

    @agent(output=Draft)
    def reads_notes(t: Topic, r: Research) -> str: ...

    @agent(output=Draft)
    def reads_verdict(t: Topic, r: Research, v: Verdict) -> str: ...

    @agent(output=Draft)
    def reads_draft(t: Topic, r: Research, v: Verdict, d: Draft) -> str: ...

    assert [type(reader) for reader in (reads_topic, reads_notes, reads_verdict, reads_draft)] == [
        Node1,
        Node2,
        Node3,
        Node4,
    ]


def test_with_model_copies_agent() -> None:
    """Another model makes another agent and leaves the first alone."""
    other = write.with_model("openai/gpt-5").named("other")
    assert (other.model, other.name, write.model, write.name) == (
        "openai/gpt-5",
        "other",
        "policy/careful",
        "write",
    )
    assert other.prompt is write.prompt
    assert run(other, Topic(topic="t"), Research())[1]["model"] == "openai/gpt-5"
    assert type(other) is Node2


def test_agent_name_may_be_given() -> None:
    assert agent(output=Draft, name="drafting")(write.prompt).name == "drafting"


def test_plain_node_has_no_model() -> None:
    """A node that is not an agent has neither model nor prompt."""

    @node
    def plain(t: Topic) -> Topic:
        return t

    assert plain.model == ""
    assert not hasattr(plain, "prompt")
    with pytest.raises(GraphError, match=r"with_model\('x'\) on a node that is not an agent"):
        plain.with_model("x")


# ---- mistakes ----------------------------------------------------------------------------------


def no_slice() -> str: ...
def text(t: str) -> str: ...
def number(t: Topic) -> int: ...  # type: ignore[empty-body]
def five(a: Topic, b: Research, c: Verdict, d: Draft, e: Topic) -> str: ...
async def waits(t: Topic) -> str: ...
def fine(t: Topic) -> str: ...
def forgets(t: Topic) -> str:  # pyright: ignore[reportReturnType]
    prompt = f"Write about {t.topic}."
    prompt.strip()


def forgets_too(t: Topic) -> None:
    t.topic.strip()


@pytest.mark.parametrize(
    "prompt, says",
    [
        (no_slice, "reads 0 slices"),
        (text, "parameter 't' is annotated str"),
        (number, "its prompt returns int"),
        (five, "reads 5 slices"),
        (waits, "its prompt function is async"),
        (forgets, "its prompt function has a body, and returns nothing"),
        (forgets_too, "its prompt function has a body, and returns nothing"),
        (write, "<agent write> is made already"),
        (Topic, "Topic is a class, not a function"),
    ],
)
def test_wrong_prompt_function_refused(prompt: Callable[..., Any], says: str) -> None:
    """A wrong prompt function is refused where it is decorated."""
    with pytest.raises(GraphError) as caught:
        agent(output=Draft)(prompt)
    assert says in str(caught.value)
    assert caught.value.problems[0].code == "NODE_SIGNATURE"


@pytest.mark.parametrize(
    "options, says",
    [
        ({"model": " "}, "names no model"),
        ({"max_tokens": 0}, "leaves no room"),
        ({"rounds": 0}, "rounds=0 is not a number of rounds"),
        ({"keep_rounds": 0}, "keep_rounds=0 keeps nothing"),
        ({"keep_tokens": "many"}, "keep_tokens='many' keeps nothing"),
        ({"temperature": -1.0}, "temperature=-1.0"),
        ({"temperature": float("nan")}, "temperature=nan"),
        ({"name": "a/b"}, "is not a name"),
        ({"timeout": -1}, "timeout=-1"),
        ({"retries": 3}, "no option 'retries'"),
        ({"output": str}, "not a pydantic model"),
    ],
)
def test_wrong_option_refused(options: dict[str, Any], says: str) -> None:
    """A wrong option is refused where it is decorated."""
    make: Any = agent
    with pytest.raises(GraphError) as caught:
        make(**{"output": Draft, **options})(fine)
    assert says in str(caught.value)


def test_agent_problems_come_at_once() -> None:
    """All problems of an agent come at once."""
    with pytest.raises(GraphError) as caught:
        agent(output=Draft, model="", max_tokens=0, temperature=-1)(fine)
    assert len(caught.value.problems) == 3

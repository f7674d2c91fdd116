"""`graphorch rerun`: a run from a node on, with something changed."""

from __future__ import annotations

import asyncio

import pytest

from tests.cli.flows import (
    finish_run,
    run_json,
)
from tests.cli.shell import Shell, run_program
from tests.models.servers import pieces_of, serve, streams


def test_rerun_with_value_shows_difference(shell: Shell) -> None:
    """A rerun with another value shows the difference, and leaves the old run as it was."""
    run_id = finish_run(shell)
    ended = shell(
        "rerun",
        "ask.py",
        run_id,
        "--from",
        "approve",
        "--set",
        "approved=false",
        "--set",
        "reason=dull",
        "--db",
        "r.sqlite",
    )
    assert (ended.code, ended.out) == (0, "1 words on tides, no dull\n")
    assert f"beside {run_id}: done anew: approve, end" in ended.err
    assert "approved: True → False" in ended.err
    assert "draft: '1 words on tides, yes' → '1 words on tides, no dull'" in ended.err
    assert "cost +0.0000 $, time " in ended.err
    assert shell("replay", "ask.py", run_id, "--db", "r.sqlite").out == "1 words on tides, yes\n"


def test_rerun_json_has_difference(shell: Shell) -> None:
    """A program gets result and difference as one object."""
    run_id = finish_run(shell)
    again = run_json(shell, "rerun", "ask.py", run_id, "--from", "end", "--db", "r.sqlite")
    assert (again["status"], again["difference"]["ran"], again["difference"]["fields"]) == (
        "succeeded",
        ["end"],
        {},
    )
    assert run_json(shell, "runs", "show", again["run_id"], "--db", "r.sqlite")["parent"] == run_id


def test_rerun_with_model_calls_it(shell: Shell) -> None:
    """A rerun with another model runs the node again with it."""
    agent = """
@agent(output=Draft, model="house/small")
def ask_one(topic: Topic) -> str:
    return f"Summarise: {topic.topic}"
flow = Graph("asking", Essay, input=Topic, output=Draft).chain(ask_one).build()
"""
    shell.write("asks.py", agent)

    async def main() -> list[str]:
        async with serve(streams(pieces_of("An answer."))) as server:
            settings = {"OPENAI_BASE_URL": server.url, "OPENAI_API_KEY": "k"}
            run = ("run", "asks.py", "--topic", "tides", "--db", "r.sqlite")
            rerun = ("rerun", "asks.py", "last", "--from", "ask_one", "--db", "r.sqlite")
            for command in (run, (*rerun, "--model", "house/large")):
                ended = await run_program(*command, here=shell.here, environment=settings)
                assert ended.code == 0, ended.err
            assert "done anew: ask_one" in ended.err
            return [body["model"] for body in server.bodies]

    assert asyncio.run(main()) == ["house/small", "house/large"]


def test_rerun_may_wait(shell: Shell) -> None:
    """A rerun that reaches a question waits, as a run of its own."""
    run_id = finish_run(shell)
    ended = shell(
        "rerun",
        "ask.py",
        run_id,
        "--from",
        "write",
        "--set",
        "draft=another one",
        "--db",
        "r.sqlite",
    )
    assert ended.code == 4
    (command,) = [
        line.strip() for line in ended.err.splitlines() if line.startswith("  graphorch answer")
    ]
    assert run_id not in command
    assert shell(*command.removeprefix("graphorch ").split(), "-q").out == "another one, yes\n"


def test_effects_are_refused_by_default(shell: Shell) -> None:
    """Effects that would happen again are refused unless `--effects` allows them."""
    shell.write(
        "acts.py",
        """
@node(effect="once")
def act(draft: Draft) -> Draft:
    with open("acts.txt", "a") as acts:
        acts.write("x")
    return Draft(draft="acted")
flow = Graph("acts", Essay, input=Topic, output=Draft).chain(write, act).build()
""",
    )
    run_id = run_json(shell, "run", "acts.py", "--topic", "x", "--db", "r.sqlite")["run_id"]
    ended = shell("rerun", "acts.py", run_id, "--from", "write", "--db", "r.sqlite")
    assert ended.code == 2
    assert "would repeat effects under new keys: 'act' (once)" in ended.err
    for effects, times in (("serve", "x"), ("repeat", "xx")):
        assert (
            shell(
                "rerun",
                "acts.py",
                run_id,
                "--from",
                "write",
                "--effects",
                effects,
                "--db",
                "r.sqlite",
            ).code
            == 0
        )
        assert (shell.here / "acts.txt").read_text() == times


@pytest.mark.parametrize(
    "options, message",
    [
        ([], "--from is missing. Name the node to start from"),
        (["--from", "ende"], "'ende' was not done in run"),
        (["--from", "end#3"], "'end' was done 1 times"),
        (
            ["--from", "end", "--set", "drft=x"],
            "--set drft=x: there is no field 'drft'. Did you mean 'draft'?",
        ),
        (["--from", "end", "--set", "draft"], "--set draft: write FIELD=VALUE"),
        (
            ["--from", "approve", "--set", "approved=maybe"],
            "The output of 'approve' (Ok) would not fit:\n  - approved: Input "
            "should be a valid boolean",
        ),
        (["--from", "end", "--set", "draft=x", "--model", "m"], "Give only one of them."),
        (["--from", "end", "--effects", "all"], "--effects all: not a valid value"),
    ],
)
def test_wrong_rerun_leaves_no_run(shell: Shell, options: list[str], message: str) -> None:
    """A rerun that is not possible is explained, and leaves no run behind."""
    run_id = finish_run(shell)
    ended = shell("rerun", "ask.py", run_id, *options, "--db", "r.sqlite")
    assert (ended.code, ended.out) == (2, "")
    assert message in ended.err
    assert len(run_json(shell, "runs", "--db", "r.sqlite")["runs"]) == 1


PRICES = """
from typing import Annotated
from pydantic import BaseModel, BeforeValidator, Field
from graphorch import Graph, node

class Item(BaseModel):
    item: str = "tea"

class Price(BaseModel):
    amount: Annotated[float, BeforeValidator(lambda cents: cents / 100)] = 0.0
    sold_by: str = Field("nobody", alias="soldBy")

class Note(BaseModel):
    note: str = ""

class State(Item, Price, Note): ...

@node
def price(item: Item) -> tuple[Price, Note]:
    return Price(amount=1999, soldBy="ann"), Note(note="kept")

flow = Graph("prices", State, input=Item).chain(price).build()
"""


@pytest.mark.parametrize(
    "values, output",
    [
        (["note=new"], [19.99, "ann", "new"]),
        (["sold_by=bob"], [19.99, "bob", "kept"]),
        (["amount=500", "note=new"], [5.0, "ann", "new"]),
    ],
)
def test_rerun_keeps_what_is_not_set(shell: Shell, values: list[str], output: list[object]) -> None:
    """Values that are not set stay as written: by name, in every slice, and converted once."""
    shell.write("prices.py", PRICES, preamble="")
    assert shell("run", "prices.py", "--db", "r.sqlite").code == 0
    options = [word for value in values for word in ("--set", value)]
    again = run_json(
        shell, "rerun", "prices.py", "last", "--from", "price", *options, "--db", "r.sqlite"
    )
    assert [again["output"][name] for name in ("amount", "sold_by", "note")] == output

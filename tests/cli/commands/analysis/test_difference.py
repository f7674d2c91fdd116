"""`graphorch runs diff`: two runs beside each other."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest

from graphorch.journal.sqlite.store import SqliteStore
from graphorch.models.messages import Request, Response
from tests.cli.flows import finish_run, run_json
from tests.cli.shell import Shell
from tests.trace.flows import Model
from tests.trace.running import ran


def test_difference_is_shown_by_path(shop_shell: Shell) -> None:
    """What the input changed stands first, then the way, each activation by its path and round."""
    ended = shop_shell("runs", "diff", "good", "far")
    assert ended.code == 0, ended.err
    assert "input amount: 3 → 200" in ended.out
    lines = {line.split()[0]: line for line in ended.out.splitlines() if line.strip()}
    assert lines["fulfilment/stock/count"].split()[1:3] == ["1", "A"]
    assert lines["fulfilment/stock/reorder"].split()[1:3] == ["1", "B"]
    assert "route" in lines["fulfilment/stock/look"]
    assert "plan" not in lines
    assert "plan" in shop_shell("runs", "diff", "good", "far", "--all").out


def test_activation_is_shown_in_full(shop_shell: Shell) -> None:
    """Of one activation, its fields and model calls stand beside each other."""
    shown = shop_shell("runs", "diff", "good", "far", "--path", "answer").out
    assert "output reply: 'done: Answer tides with 3 in stock'" in shown
    assert "call 1: prompt, answer" in shown
    failed = shop_shell("runs", "diff", "good", "bad", "--path", "fulfilment/stock/count").out
    assert "error in B: ValueError: only 9 on the shelf, 12 wanted" in failed


def test_difference_for_programs_is_that_of_page(shop_shell: Shell) -> None:
    """One object holds the same fields as the API."""
    found = json.loads(shop_shell("runs", "diff", "good", "bad", "--json").out)
    assert (found["left"]["run_id"], found["right"]["status"]) == ("good", "failed")
    assert found["counts"]["different"] == len(
        [row for row in found["activations"] if row["presence"] == "both"]
    )
    options = ("--path", "fulfilment/stock/count", "--json")
    opened = json.loads(shop_shell("runs", "diff", "good", "bad", *options).out)
    assert opened["activation"]["differs"] == ["status", "output", "route", "error"]


def test_rerun_marks_what_was_served(shell: Shell) -> None:
    """Beside the run that it was made of, a rerun says what it took over."""
    run_id = finish_run(shell)
    db = ("--db", "r.sqlite")
    again = run_json(shell, "rerun", "ask.py", run_id, "--from", "end", *db)["run_id"]
    shown = shell("runs", "diff", run_id, again, "--all", *db).out
    assert "served in B" in shown
    assert "0 different, 0 only in A, 0 only in B" in shown


class Unpriced(Model):
    """A model whose price nobody knows."""

    async def complete(self, request: Request, on_text: Any = None) -> Response:
        response = await super().complete(request, on_text)
        return replace(response, usd=0.0, usd_source="none")


def test_unknown_price_is_no_zero(shop_shell: Shell) -> None:
    """Where a price is not known, neither is the difference of costs."""

    async def keep() -> None:
        store = await SqliteStore.open(shop_shell.here / "graphorch.sqlite")
        await ran("dark", 3, store=store, client=Unpriced())
        await store.close()

    asyncio.run(keep())
    shown = shop_shell("runs", "diff", "good", "dark", "--all").out
    lines = {line.split()[0]: line.split() for line in shown.splitlines() if line.strip()}
    assert lines["plan"][-1] != "unknown"  # the table has a price of its model
    assert lines["answer"][-1] == "unknown"
    assert "unknown" not in lines["fulfilment/check"]
    assert "and calls of unknown price" in shown


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("good", "good"), "named twice"),
        (("good", "nobody"), "nobody"),
        (("good", "far", "--path", "anser"), "answer"),
        (("good", "far", "--round", "2"), "--path"),
        (("good", "far", "--path", "plan", "--round", "2"), "rounds 1 to 1"),
    ],
)
def test_bad_pair_has_one_message(shop_shell: Shell, options: tuple[str, ...], words: str) -> None:
    """What cannot be compared ends with code 2, and one message that says why."""
    ended = shop_shell("runs", "diff", *options)
    assert ended.code == 2
    assert words in ended.err
    assert "Traceback" not in ended.err

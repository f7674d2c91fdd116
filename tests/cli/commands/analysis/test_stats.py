"""`stats`, `conversation`, `why`, `critical`, `timeline` and `heat`: each over real runs, and over everything that is no such run."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import sqlite3
from pathlib import Path

import pytest

from graphorch.journal.records import NewRun
from graphorch.journal.sqlite.store import SqliteStore
from tests.cli.shell import Shell, program
from tests.trace.running import ran

FLOW = "from tests.trace.flows import shop\n\nflow = shop()\n"
COMMANDS = ("stats", "conversation", "why", "critical", "timeline", "heat")


async def journal(path: Path) -> None:
    store = await SqliteStore.open(path, sync="normal")
    await ran("good", 3, store=store, tags={"user": "ann"})
    await ran("bad", 12, store=store, tags={"user": "bob"})
    await ran("far", 200, store=store, tags={"user": "ann"})
    await store.close()


@pytest.fixture
def shop_shell(shell: Shell) -> Shell:
    shell.write("shop.py", FLOW, preamble="")
    asyncio.run(journal(shell.here / "graphorch.sqlite"))
    return shell


def test_the_overview_has_runs_costs_steps_and_errors(shop_shell: Shell) -> None:
    ended = shop_shell("stats")
    assert ended.code == 0
    for line in (
        "order  3     2          1",
        "plan    openai/gpt-5   3",
        "fulfilment/stock/count  attempt  ValueError  1",
    ):
        assert line in ended.out


def test_statistics_as_json_and_csv_are_the_same_rows(shop_shell: Shell) -> None:
    rows = json.loads(shop_shell("stats", "calls", "--by", "user,model", "--format", "json").out)
    read = list(
        csv.DictReader(
            io.StringIO(shop_shell("stats", "calls", "--by", "user,model", "--format", "csv").out)
        )
    )
    assert [(row["user"], row["model"], row["usd"]) for row in rows] == [
        (row["user"], row["model"], float(row["usd"])) for row in read
    ]
    assert sum(row["calls"] for row in rows) == 5


def test_filters_windows_and_comparisons(shop_shell: Shell) -> None:
    rows = json.loads(shop_shell("stats", "calls", "--where", "user=bob", "--format", "json").out)
    assert [(row["agent"], row["calls"]) for row in rows] == [("plan", 1)]
    assert "nothing in this window" in shop_shell("stats", "calls", "--until", "2020-01-01").err
    compared = json.loads(
        shop_shell("stats", "runs", "--since", "1h", "--compare", "--format", "json").out
    )
    assert (compared[0]["runs"], compared[0]["runs_before"]) == (3, None)


def test_a_chart_is_written_as_svg(shop_shell: Shell) -> None:
    for topic, by in (
        ("calls", "agent"),
        ("calls", "day,agent"),
        ("steps", "step"),
        ("runs", "flow"),
    ):
        assert shop_shell("stats", topic, "--by", by, "--chart", "chart.svg").code == 0
        assert "</svg>" in (shop_shell.here / "chart.svg").read_text()


def test_one_command_leads_to_the_fault_three_levels_deep(shop_shell: Shell) -> None:
    assert (
        "'fulfilment/stock/count' failed in attempt 1: ValueError: only 9 on the shelf"
        in shop_shell("why", "shop.py", "bad").out
    )
    assert (
        "fulfilment/stock/count  [failed, attempt 1; for good]"
        in shop_shell("conversation", "bad").out
    )


def test_why_tells_what_a_node_saw_and_why_another_did_not_run(shop_shell: Shell) -> None:
    ran_there = shop_shell("why", "shop.py", "good", "count").out
    assert 'saw Order: { "order": "tides", "amount": 3 }' in ran_there
    assert (
        "its route went to count (label here), not here"
        in shop_shell("why", "shop.py", "good", "reorder").out
    )
    told = json.loads(shop_shell("why", "shop.py", "good", "plan", "--json").out)
    assert told["reasons"][0]["saw"]["Order"]["amount"] == 3


def test_a_conversation_in_every_form(shop_shell: Shell) -> None:
    assert (
        "plan → openai/gpt-5" in shop_shell("conversation", "last").out
        or "plan → openai/gpt-5" in shop_shell("conversation", "good").out
    )
    assert (
        len(json.loads(shop_shell("conversation", "good", "--format", "json").out)["turns"]) == 13
    )
    assert shop_shell("conversation", "good", "--format", "html", "-o", "talk.html").code == 0
    assert (shop_shell.here / "talk.html").read_text().startswith("<!doctype html>")
    assert "+→ fulfilment/stock/reorder" in shop_shell("conversation", "good", "far", "--diff").out
    assert "ended" in shop_shell("conversation", "good", "--follow").out
    only = shop_shell("conversation", "good", "--node", "fulfilment/stock").out
    assert "look" in only
    assert "gpt-5" not in only


def test_a_conversation_is_followed_until_the_run_ends(shop_shell: Shell) -> None:
    async def main() -> None:
        path = shop_shell.here / "live.db"
        store = await SqliteStore.open(path, sync="normal")
        await store.create(NewRun("live", "order", "x", 1))
        await store.claim("live", "me", ttl=60)
        follower = asyncio.create_task(
            program("conversation", "live", "--follow", "--db", "live.db", here=shop_shell.here)
        )
        other = await ran("other", store=store)
        lease = await store.claim("live", "me", ttl=60)
        await store.append(
            lease, (await other.load("other")).records, expected_last_seq=0, status="succeeded"
        )
        ended = await follower
        await store.close()
        assert ended.code == 0
        assert "plan → openai/gpt-5" in ended.out
        assert "run live of 'order': succeeded" in ended.out

    asyncio.run(main())


def test_the_critical_path_and_the_pictures(shop_shell: Shell) -> None:
    assert "its critical path is" in shop_shell("critical", "shop.py", "good").out
    assert set(
        json.loads(shop_shell("critical", "shop.py", "good", "--json").out)["with_limit"]
    ) == {"1", "2", "4", "8", "16"}
    for arguments in (
        ("timeline", "good"), ("heat", "shop.py"), ("heat", "shop.py", "--by", "errors", "--theme", "dark"), ("heat", "shop.py", "--run", "good"),
        ("heat", "shop.py", "--run", "far", "--against", "good"),
    ):  # fmt: skip
        ended = shop_shell(*arguments)
        assert (ended.code, ended.out.rstrip().endswith("</svg>")) == (0, True), ended.err


@pytest.mark.parametrize("command", COMMANDS)
def test_help_names_the_exit_codes(shell: Shell, command: str) -> None:
    assert "Exit codes: 0" in " ".join(shell(command, "--help").out.split())


@pytest.mark.parametrize(
    "arguments, says",
    [
        (("stats", "cost"), "no statistics of 'cost'"),
        (("stats", "--by", "model"), "need one topic"),
        (("stats", "calls", "--where", "model"), "not KEY=VALUE"),
        (("stats", "calls", "--since", "soon"), "not a time"),
        (("stats", "calls", "--since", "1h", "--until", "2020-01-01"), "is not after"),
        (("stats", "calls", "--compare"), "Give --since"),
        (("stats", "calls", "--format", "xml"), "--format xml"),
        (("stats", "runs", "--by", "model"), "Runs have no 'model'"),
        (("conversation", "nope"), "The journal has no run 'nope'"),
        (("conversation", "good", "far"), "--diff compares two runs"),
        (
            ("conversation", "good", "--follow", "--format", "json"),
            "--follow shows one run as text",
        ),
        (("conversation", "good", "--node", "nope"), "Nothing was said at 'nope'"),
        (("why", "good"), "RUN or FLOW is missing"),
        (("why", "shop.py", "good", "nope"), "has no node 'nope'"),
        (("why", "shop.py", "good", "plan#7"), "'plan' ran 1 times"),
        (("heat", "shop.py", "--against", "good"), "Name both"),
        (("timeline", "../../etc/passwd"), "The journal has no run"),
    ],
)
def test_wrong_use_is_told_without_a_traceback(
    shop_shell: Shell, arguments: tuple[str, ...], says: str
) -> None:
    ended = shop_shell(*arguments)
    assert ended.code == 2
    assert says in ended.err
    assert "Traceback" not in ended.err


def test_no_journal_and_an_empty_one_are_told(shell: Shell) -> None:
    shell.write("shop.py", FLOW, preamble="")
    for arguments in (
        ("stats",),
        ("conversation", "last"),
        ("why", "shop.py", "last"),
        ("timeline", "last"),
    ):
        ended = shell(*arguments)
        assert ended.code == 2
        assert "There is no journal" in ended.err
    assert not list(shell.here.glob("*.sqlite"))
    (shell.here / "graphorch.sqlite").touch()
    assert "nothing in this window" in shell("stats").err
    assert "holds no run yet" in shell("conversation", "last").err
    assert shell("heat", "shop.py").code == 0


def test_a_run_that_crashed_and_one_that_was_erased_are_told(shop_shell: Shell) -> None:
    raw = sqlite3.connect(shop_shell.here / "graphorch.sqlite")

    async def crash() -> None:
        store = await SqliteStore.open(shop_shell.here / "graphorch.sqlite", sync="normal")
        records = (await store.load("good")).records
        head = (await store.load("good")).head
        await store.create(NewRun("half", head.flow, head.fingerprint, head.format))
        lease = await store.claim("half", "me", ttl=60)
        await store.append(lease, records[:1], expected_last_seq=0)
        await store.release(lease)
        await store.erase("far")
        await store.close()

    asyncio.run(crash())
    raw.close()
    assert "its process is gone; under way were plan" in shop_shell("why", "shop.py", "half").out
    assert "crashed" in shop_shell("conversation", "half").out
    assert "has crashed: its process is gone" in shop_shell("conversation", "half", "--follow").err
    assert shop_shell("timeline", "half").code == 0
    assert "was erased" in shop_shell("conversation", "far").err
    assert json.loads(shop_shell("stats", "runs", "--by", "status", "--format", "json").out)


def test_a_damaged_run_is_left_out_and_named(shop_shell: Shell) -> None:
    raw = sqlite3.connect(shop_shell.here / "graphorch.sqlite")
    raw.execute("UPDATE records SET body = x'7b7d' WHERE run = 1 AND seq = 2")
    raw.commit()
    raw.close()
    ended = shop_shell("stats")
    assert ended.code == 0
    assert "run good is damaged and left out" in ended.err
    assert shop_shell("conversation", "good").code in (1, 2)

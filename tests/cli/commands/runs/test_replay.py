"""`graphorch replay`: a run derived again from its records."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from pathlib import Path

from graphorch.journal.records import NewRun
from graphorch.journal.sqlite.store import SqliteStore
from tests.cli.flows import (
    ASKING,
    finish_run,
    run_json,
    start_waiting_run,
)
from tests.cli.shell import Shell


def test_replay_prints_output_again(shell: Shell) -> None:
    """A replay prints the output again, and that no node ran."""
    run_id = finish_run(shell)
    ended = shell("replay", "ask.py", run_id, "--db", "r.sqlite")
    assert (ended.code, ended.out) == (0, "1 words on tides, yes\n")
    assert ended.err.startswith(
        "replayed without a difference; no node ran and no model was called\n"
    )
    assert run_json(shell, "replay", "ask.py", run_id, "--db", "r.sqlite")["output"] == {
        "draft": "1 words on tides, yes"
    }


def test_diverging_replay_names_difference(shell: Shell) -> None:
    """A replay that diverges names the first difference."""
    loop = """
@node
def again(draft: Draft) -> Draft:
    return Draft(draft=draft.draft + "!")
g = Graph("loop", Essay, input=Topic, output=Draft).chain(write, again)
g.loop(again, back_to=again, while_=lambda s: s.draft.count("!") < 2, max_iterations=9)
flow = g.build()
"""
    shell.write("loop.py", loop)
    run_id = run_json(shell, "run", "loop.py", "--topic", "x", "--db", "r.sqlite")["run_id"]
    shell.write("other.py", loop.replace("< 2", "< 1"))
    ended = shell("replay", "other.py", run_id, "--db", "r.sqlite")
    assert (ended.code, ended.out) == (1, "")
    assert "the route of 'again' went back to 'again', and now goes to its other edges" in ended.err


def test_run_of_other_flow_is_wrong_journal(shell: Shell) -> None:
    """Only a replay compares: for every other command such a run is wrong input, with code 2."""
    run_id = finish_run(shell)
    store_records(shell.here / "r.sqlite", run_id)
    for command in (
        ["why", "ask.py", run_id],
        ["critical", "ask.py", run_id],
        ["fork", "ask.py", run_id, "--from", "write"],
        ["resume", "ask.py", run_id],
        ["runs", "cancel", run_id, "--flow", "ask.py"],
    ):
        ended = shell(*command, "--db", "r.sqlite")
        assert (ended.code, ended.out) == (2, "")
        assert "Record 2 (commit): 'elsewhere' is not open at this point" in ended.err
    assert shell("replay", "ask.py", run_id, "--db", "r.sqlite").code == 1


def store_records(path: Path, run_id: str) -> None:
    """Store a run anew whose first commit is of a node that the flow does not have."""

    async def main() -> None:
        store = await SqliteStore.open(path)
        log = await store.load(run_id)
        await store.prune(before=time.time() + 60, statuses=[log.head.status])
        head = log.head
        await store.create(NewRun(run_id, head.flow, head.fingerprint, head.format))
        lease = await store.claim(run_id, "me", ttl=60)
        body = {**log.records[1].body, "path": "elsewhere"}
        records = [log.records[0], replace(log.records[1], body=body)]
        await store.append(lease, records, expected_last_seq=0, status="stopped")
        await store.release(lease)
        await store.close()

    asyncio.run(main())


def test_replay_ends_as_run_did(shell: Shell) -> None:
    """A replay of a run that waits or failed has the exit code of that run."""
    run_id = start_waiting_run(shell)
    assert shell("replay", "ask.py", run_id, "--db", "r.sqlite").code == 4
    shell("runs", "cancel", run_id, "--db", "r.sqlite")
    ended = shell("replay", "ask.py", run_id, "--db", "r.sqlite")
    assert ended.code == 1
    assert ended.err.startswith("replayed without a difference")
    assert "(cancelled)" in ended.err
    assert "Resume with" not in ended.err


def test_flow_comes_before_run(shell: Shell) -> None:
    """RUN FLOW in place of FLOW RUN is refused with the right order."""
    shell.write("ask.py", ASKING)
    for command in ("replay", "rerun", "fork"):
        ended = shell(command, "abc", "ask.py")
        assert ended.code == 2
        assert f"`graphorch {command} ask.py abc`" in ended.err

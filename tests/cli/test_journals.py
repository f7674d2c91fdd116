"""A journal or run that does not fit: one message, exit code 2, no traceback, nothing changed."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import typer

from graphorch.cli.exit_codes import exit_on_error
from graphorch.cli.flow_loader import load_flow
from graphorch.cli.journals import locate_journal
from graphorch.journal.sqlite import statements
from graphorch.journal.sqlite.store import SqliteStore
from graphorch.runs.durable import cancel
from tests.cli.flows import (
    ASKING,
    finish_run,
    run_json,
    start_waiting_run,
)
from tests.cli.shell import FLOW, Ended, Shell

Damage = Callable[[Path], None]


def newer(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {statements.FORMAT + 1}")


def of_another_program(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE recipes (name TEXT)")


def half_copied(path: Path) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2 + 100])


def no_database(path: Path) -> None:
    path.write_text("Dear diary, today I ran a flow.")


def flipped(path: Path) -> None:
    whole = path.read_bytes()
    place = whole.index(b"words on tides")
    path.write_bytes(whole[:place] + b"W" + whole[place + 1 :])


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGES: dict[str, tuple[Damage, str]] = {
    "newer": (newer, "written by a later version of graphorch"),
    "another program": (of_another_program, "is a database of another program"),
    "half copied": (half_copied, "half of a copy"),
    "no database": (no_database, "is not an SQLite database"),
    "a folder": (a_folder, "is not a file"),
}
COMMANDS = (
    "runs",
    "runs show RUN",
    "runs cancel RUN",
    "runs erase RUN",
    "runs prune --older-than 1d",
    "resume ask.py RUN",
    "answer ask.py RUN approve yes",
    "replay ask.py RUN",
    "rerun ask.py RUN --from write",
    "fork ask.py RUN --from write",
)


def call(shell: Shell, command: str, run_id: str) -> Ended:
    return shell(*command.replace("RUN", run_id).split(), "--db", "r.sqlite")


def bytes_of(shell: Shell) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in shell.here.glob("r.sqlite*") if path.is_file()}


def refused(ended: Ended, message: str) -> None:
    assert (ended.code, ended.out) == (2, "")
    assert message in ended.err
    assert "Traceback" not in ended.err
    assert ended.err.startswith("error: ")


@pytest.mark.parametrize("damage", DAMAGES)
def test_foreign_file_is_refused_unchanged(shell: Shell, damage: str) -> None:
    """Every command refuses a file that is not a journal, and leaves it as it is."""
    make, message = DAMAGES[damage]
    run_id = start_waiting_run(shell)
    make(shell.here / "r.sqlite")
    before = bytes_of(shell)
    for command in COMMANDS:
        refused(call(shell, command, run_id), message)
    refused(shell("run", "ask.py", "--topic", "x", "--db", "r.sqlite", "-q"), message)
    assert bytes_of(shell) == before


@pytest.mark.parametrize(
    ("db", "message"),
    [
        ("mysql://u:secret@h/d", "a URL that begins with mysql://, and none can be kept there"),
        ("postgresql://u:sec/ret@h/d", "The URL of the journal is not valid"),
    ],
)
def test_other_url_is_refused(shell: Shell, db: str, message: str) -> None:
    """A URL that names no journal is one clear message for every command, and makes no file."""
    shell.write("ask.py")
    for command in (*COMMANDS, "run ask.py --topic x", "stats", "why ask.py write"):
        ended = shell(*command.replace("RUN", "last").split(), "--db", db)
        refused(ended, message)
        assert "sec" not in ended.err
    assert shell.list_files() == ["ask.py"]


def test_password_of_command_is_noted(shell: Shell) -> None:
    """A password among the arguments is a note, which does not hold it."""
    journal = locate_journal("postgresql://u:secret@h/d")
    assert journal.option == " --db postgresql://u@h/d"
    noted = shell.capsys.readouterr().err
    assert "other users of this machine can see a password" in noted
    assert "secret" not in noted
    locate_journal("postgresql://u@h/d")
    assert not shell.capsys.readouterr().err


def test_changed_record_is_named(shell: Shell) -> None:
    """A changed record is found and named."""
    run_id = start_waiting_run(shell)
    flipped(shell.here / "r.sqlite")
    before = bytes_of(shell)
    for command in COMMANDS[1:]:
        if command.startswith(("runs erase", "runs prune")):
            continue  # neither reads what a record says
        ended = call(shell, command, run_id)
        assert (ended.code, ended.out) == (2, ""), command
        assert "nothing was changed" in ended.err
    assert run_json(shell, "runs", "show", run_id, "--db", "r.sqlite")["status"] == "error"
    assert bytes_of(shell).keys() == before.keys()


def ending_of(
    work: Callable[[SqliteStore], Awaitable[object]], path: Path, shell: Shell, **options: Any
) -> Ended:
    """How a command ends that does something with a store that was opened with these options."""

    async def main() -> None:
        store = await SqliteStore.open(path, **options)
        try:
            await work(store)
        finally:
            await store.close()

    shell.capsys.readouterr()
    with pytest.raises(typer.Exit) as exit, exit_on_error(debug=False):
        asyncio.run(main())
    captured = shell.capsys.readouterr()
    return Ended(exit.value.exit_code, captured.out, captured.err)


def connecting(pragma: str) -> Callable[..., sqlite3.Connection]:
    def connect(*arguments: Any, **options: Any) -> sqlite3.Connection:
        connection = sqlite3.connect(*arguments, **options)
        connection.execute(pragma)
        return connection

    return connect


def test_locked_journal_is_refused(shell: Shell) -> None:
    """A journal that another program has locked is refused."""
    run_id = start_waiting_run(shell)
    flow = load_flow("ask.py").flow
    with closing(sqlite3.connect(shell.here / "r.sqlite", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        for work in (
            lambda store: flow.resume(run_id, durable=store),
            lambda store: cancel(store, run_id, 0.0),
        ):
            refused(
                ending_of(work, shell.here / "r.sqlite", shell, lock_timeout=0.01),
                "Another process is writing to it",
            )
        assert call(shell, "runs show RUN", run_id).code == 0  # reading waits for nobody
    assert call(shell, "answer ask.py RUN approve yes", run_id).code == 0


def test_full_journal_stores_nothing(shell: Shell) -> None:
    """A full journal stores nothing, and says so."""
    run_id = start_waiting_run(shell)
    before = run_json(shell, "runs", "show", run_id, "--db", "r.sqlite")
    flow = load_flow("ask.py").flow
    large = flow.plan.input(topic="x" * 100_000)
    full = connecting("PRAGMA max_page_count = 1")
    ended = ending_of(
        lambda store: flow.run(large, durable=store), shell.here / "r.sqlite", shell, connect=full
    )
    refused(ended, "Free some room, or delete old runs with `prune`.")
    assert run_json(shell, "runs", "show", run_id, "--db", "r.sqlite") == before
    assert call(shell, "answer ask.py RUN approve yes", run_id).code == 0


def test_read_only_journal_is_refused(shell: Shell) -> None:
    """A journal that may not be written is refused."""
    run_id = start_waiting_run(shell)
    before = bytes_of(shell)
    flow = load_flow("ask.py").flow
    # answers what a file without permission does, also to root
    only_read = connecting("PRAGMA query_only = ON")
    for work in (
        lambda store: flow.resume(run_id, durable=store),
        lambda store: cancel(store, run_id, 0.0),
    ):
        ended = ending_of(work, shell.here / "r.sqlite", shell, connect=only_read)
        refused(ended, "Allow this user to write the file and its folder.")
    assert bytes_of(shell) == before


def test_run_of_other_flow_is_refused(shell: Shell) -> None:
    """A run of another flow is refused with what differs."""
    run_id = start_waiting_run(shell)
    shell.write(
        "other.py",
        FLOW.replace('"essay"', '"other"').replace(
            "chain(write)", 'chain(write, write.named("more"))'
        ),
    )
    before = run_json(shell, "runs", "show", run_id, "--db", "r.sqlite")
    for command in COMMANDS[5:]:
        ended = call(shell, command.replace("ask.py", "other.py"), run_id)
        refused(
            ended,
            "flow 'other' is not the same graph: node 'approve' is gone; node 'end' is "
            "gone; node 'more' is new",
        )
        assert "Name the file that defines 'asking', or declare what changed" in ended.err
        assert "graph.migration(from_=" in ended.err
    assert run_json(shell, "runs", "show", run_id, "--db", "r.sqlite") == before


@pytest.mark.parametrize(
    "run_id, message",
    [
        ("nothing", "no run 'nothing'"),
        ("../../etc/passwd", "is not a run id"),
        ("a" * 201, "is not a run id"),
    ],
)
def test_unknown_run_is_refused(shell: Shell, run_id: str, message: str) -> None:
    """A run that does not exist, or whose id looks like a path, is refused."""
    finish_run(shell)
    runs = run_json(shell, "runs", "--db", "r.sqlite")
    for command in COMMANDS:
        if "RUN" in command:
            ended = call(shell, command, run_id)
            assert (ended.code, ended.out) == (2, "")
            assert message in ended.err
    assert run_json(shell, "runs", "--db", "r.sqlite") == runs
    assert sorted(path.name for path in shell.here.iterdir() if path.suffix == ".sqlite") == [
        "r.sqlite"
    ]


def test_reading_creates_no_journal(shell: Shell) -> None:
    """A command that only reads creates no journal."""
    shell.write("ask.py", ASKING)
    for command in COMMANDS:
        refused(
            call(shell, command, "abc"),
            "There is no journal 'r.sqlite'. Name one with --db PATH|URL or GRAPHORCH_DB",
        )
    assert not (shell.here / "r.sqlite").exists()


def test_missing_folder_is_refused_before_run(
    shell: Shell,
) -> None:
    """A journal in a folder that does not exist is refused before anything runs."""
    shell.write("ask.py", ASKING)
    ended = shell("run", "ask.py", "--topic", "x", "--db", "nowhere/r.sqlite")
    refused(ended, "cannot be created")
    assert "write started" not in ended.err


def test_refusal_as_json(shell: Shell) -> None:
    """A program gets the refusal as an object."""
    start_waiting_run(shell)
    answered = run_json(shell, "runs", "show", "nothing", "--db", "r.sqlite")
    assert answered["status"] == "error"
    assert answered["errors"][0]["type"] == "InputError"

"""Every command on a PostgreSQL database says what it says on a SQLite file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.flows import ASKING, FLAKY, run_json
from tests.cli.shell import Ended, Shell
from tests.cli.test_completion import offer
from tests.postgres.cluster import Cluster
from tests.workers.processes import prepare_database

SIGNALS = """
class Paid(BaseModel):
    amount: int = 0

class State(Topic, Draft, Paid): ...

@node
def thank(paid: Paid) -> Draft:
    return Draft(draft=f"thanks for {paid.amount}")

g = Graph("till", State, input=Topic, output=Draft)
flow = g.chain(g.signal("paid", Paid), thank).build()
"""

TRIAGE = str(Path(__file__).parents[2] / "graphs" / "support_triage.py")

PASSWORD = "s3cret"
DRAWINGS = frozenset({"timeline ASKED", "timeline SHOP", "render ask.py --run ASKED"})
_NUMBERS = re.compile(r"\d+(\.\d+)?")
_IDS = re.compile(r"\b[0-9a-f]{8,64}\b")


@pytest.fixture(scope="module")
def url(cluster: Cluster) -> Iterator[str]:
    """A database with the tables of graphorch, which the tests of this module share."""
    url = cluster.create_database()
    prepare_database(url)
    yield url
    cluster.drop_database(url)


def normalize(text: str, db: str) -> list[str]:
    """Return lines without what differs between two runs of the same commands, times above all.

    Tables that are sorted by times have another order, too.
    """
    shown = text.replace(db, "DB").replace("graphorch.sqlite", "DB")
    for id_ in re.findall(r"graphorch resume \S+ (\S+)|run (\S+) ", shown):
        shown = shown.replace(max(id_), "ID") if len(max(id_)) > 3 else shown
    shown = _NUMBERS.sub("N", _IDS.sub("ID", shown))
    return sorted(re.sub(r"[\W_]+", " ", line).strip() for line in shown.splitlines())


def lead(shell: Shell, db: str) -> dict[str, Ended]:
    """Run every command on a journal, on the same runs; return how each ended."""
    ended: dict[str, Ended] = {}

    def call(line: str) -> Ended:
        words = line.split()
        ended[line] = shell(*words, "--db", db)
        return ended[line]

    def begin(flow: str) -> str:
        words = ("run", flow, "--tag", "team=a", "--db", db)
        given = () if flow == TRIAGE else ("--topic", "tides")
        return run_json(shell, *words, *given)["run_id"]

    asked, failed, till, shop = (begin(flow) for flow in ("ask.py", "flaky.py", "till.py", TRIAGE))
    call("run ask.py --topic moons")
    names = {"ASKED": asked, "FAILED": failed, "TILL": till, "SHOP": shop}
    for template in COMMANDS:
        line = template
        for name, run_id in names.items():
            line = line.replace(name, run_id)
        ended[template] = call(line)
        del ended[line]
    (shell.here / "repaired").touch()
    ended["resume"] = call(f"resume flaky.py {failed}")
    del ended[f"resume flaky.py {failed}"]
    (shell.here / "repaired").unlink()
    return ended


COMMANDS = (
    "follow ask.py ASKED",
    "runs",
    "runs --status waiting --flow asking --tag team=a",
    "runs show ASKED",
    "runs show FAILED --records",
    "why ask.py approve ASKED",
    "answer ask.py ASKED approve yes",
    "answer ask.py ASKED approve yes --no-wait",
    "send till.py TILL paid 5",
    "send till.py TILL paid 5 --no-wait",
    "follow ask.py ASKED -q",
    "replay ask.py ASKED",
    "resume ask.py ASKED",
    "resume till.py --due",
    "fork ask.py ASKED --from write",
    "rerun ask.py ASKED --from end",
    "why ask.py end ASKED",
    "critical ask.py ASKED",
    "timeline ASKED",
    "timeline SHOP",
    "runs export ASKED ask.py -o run.html --force",
    "conversation SHOP",
    "heat ask.py",
    "render ask.py --run ASKED",
    "stats",
    "stats runs",
    "stats steps --by flow",
    "stats errors",
    "runs stop ASKED",
    "runs cancel last",
    "runs erase TILL",
    "runs show TILL",
    "follow till.py TILL",
    "runs prune --older-than 90d",
    "runs show nowhere",
    "run ask.py --after ASKED --topic more",
)


def test_commands_on_database_equal_those_on_file(shell: Shell, url: str) -> None:
    """Exit codes and texts are the same up to ids, times, and the name of the journal.

    The password of the URL is in none of them.
    """
    for name, body in {"ask.py": ASKING, "flaky.py": FLAKY, "till.py": SIGNALS}.items():
        shell.write(name, body)
    secret = url.replace("postgres@", f"postgres:{PASSWORD}@")
    on_file, on_database = lead(shell, "r.sqlite"), lead(shell, secret)
    for command, wanted in on_file.items():
        got = on_database[command]
        assert got.code == wanted.code, (command, wanted, got)
        assert PASSWORD not in got.out + got.err
        note, err = split_note(got.err)
        assert "a password in the arguments" in note
        assert normalize(err, url) == normalize(wanted.err, "r.sqlite"), command
        if command not in DRAWINGS:
            assert normalize(got.out, url) == normalize(wanted.out, "r.sqlite"), command
    assert PASSWORD not in (shell.here / "run.html").read_text("utf-8")


def split_note(text: str) -> tuple[str, str]:
    """Return the note about the password, and the other lines."""
    lines = text.splitlines()
    notes = [line for line in lines if "a password in the arguments" in line]
    return notes[0] if notes else "", "\n".join(line for line in lines if line not in notes)


def test_variable_names_database(shell: Shell, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """GRAPHORCH_DB may be a URL, of which commands that are shown say nothing."""
    monkeypatch.setenv("GRAPHORCH_DB", url.replace("postgres@", f"postgres:{PASSWORD}@"))
    shell.write("ask.py", ASKING)
    ended = shell("run", "ask.py", "--topic", "tides", "--durable")
    assert ended.code == 4
    (command,) = re.findall(r"graphorch (answer ask.py \S+ approve) ", ended.err)
    assert "--db" not in ended.err
    done = shell(*command.split(), "yes")
    assert (done.code, done.out) == (0, "1 words on tides, yes\n")
    assert PASSWORD not in ended.err + done.err
    assert not list(shell.here.glob("*.sqlite*"))


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("127.0.0.1:1/runs", "cannot be opened: .*refused"),
        ("127.0.0.1:PORT/nowhere", 'database "nowhere" does not exist'),
        ("127.0.0.1:PORT/postgres", "has no tables of graphorch. Run `graphorch db init --db"),
        ("127.0.0.1:PORT/postgres?nope=1", "has options that libpq does not know"),
    ],
)
def test_database_that_is_none_is_named(
    shell: Shell, cluster: Cluster, place: str, message: str
) -> None:
    """One line says what is wrong, also with a traceback, and repeats no password."""
    shell.write("ask.py", ASKING)
    db = f"postgresql://postgres:{PASSWORD}@{place.replace('PORT', str(cluster.port))}"
    for line in ("runs", "run ask.py --topic x", "follow ask.py", "stats", "runs --debug"):
        ended = shell(*line.split(), "--db", db)
        assert (ended.code, ended.out) == (2, "")
        assert re.search(message, ended.err)
        assert PASSWORD not in ended.err
        assert ("Traceback" in ended.err) == ("--debug" in line)


def test_completion_offers_runs_of_database(shell: Shell, url: str) -> None:
    """A shell offers the runs of a database, and says nothing about a password."""
    shell.write("ask.py", ASKING)
    run_id = run_json(shell, "run", "ask.py", "--topic", "tides", "--db", url)["run_id"]
    for db in (url, url.replace("postgres@", f"postgres:{PASSWORD}@")):
        (offered,) = offer(shell, "runs", "show", "--db", db, run_id[:8])
        assert offered.startswith(run_id[:8])

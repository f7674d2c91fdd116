"""`graphorch submit`, `worker` and `workers`: what they print, and what they refuse."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from graphorch.distributed.engine import Job
from graphorch.distributed.node_messages import name_node_kind
from graphorch.distributed.pgqueuer.adapter import PgQueuerEngine
from tests.cli.shell import Shell
from tests.postgres.cluster import Cluster
from tests.workers.processes import FLOW


def test_submitted_run_is_listed(shell: Shell, database: str) -> None:
    """Without a worker a run is queued; its version is named, and that no worker takes it."""
    assert shell("db", "init", "--db", database).code == 0
    words = ["submit", FLOW, "--db", database, "--run-id", "mine"]
    first = shell(*words, "--kind", "quick")
    assert (first.code, first.out) == (0, "mine\n")
    again = shell(*words, "--kind", "quick", "--json")
    assert json.loads(again.out) == {"run_id": "mine", "flow": "work", "status": "submitted"}
    other = shell(*words, "--kind", "ask")
    assert (other.code, "submitted before, with another input" in other.err) == (2, True)
    assert "queued" in shell("runs", "--db", database).out
    assert "queued" in shell("runs", "show", "mine", "--db", database).out
    listed = shell("workers", "--db", database)
    assert (listed.code, "no worker lives" in listed.out, "1 running" in listed.out) == (
        0,
        True,
        True,
    )
    assert "no living worker takes the runs of work@" in listed.err
    described = json.loads(shell("workers", "--db", database, "--json").out)
    assert described["workers"] == []
    (version,) = described["versions"]
    assert (version["flow"], version["runs"], version["queued"]) == ("work", {"running": 1}, 1)


def test_pool_without_worker_is_named(shell: Shell, database: str) -> None:
    """Nodes of a pool that no living worker serves are named, with how to start one."""
    assert shell("db", "init", "--db", database).code == 0

    async def put() -> None:
        engine = await PgQueuerEngine.open(database)
        for pool in ("gpu", None):
            await engine.put([Job(name_node_kind("work", "ab12", pool), f"node/{pool}", b"")])
        await engine.close()

    asyncio.run(put())
    listed = shell("workers", "--db", database)
    assert "note: 1 node of work@ab12 in pool 'gpu' cannot run" in listed.err
    assert "start `graphorch worker FLOW --pool gpu`" in listed.err
    assert "1 node of work@ab12 cannot run: no living worker has that version" in listed.err
    described = json.loads(shell("workers", "--db", database, "--json").out)
    assert [each["pool"] for each in described["unserved"]] == [None, "gpu"]


def test_flow_with_resources_is_refused(shell: Shell) -> None:
    """A flow that needs resources is refused at once: a command cannot make them."""
    shell.write(
        "needy.py",
        """
        class Clients: ...

        @node
        def fetch(ctx: Context[Clients], topic: Topic) -> Draft:
            return Draft()

        flow = Graph("needy", Essay, input=Topic, output=Draft).chain(fetch).build()
        """,
    )
    ended = shell("worker", "needy.py", "--db", "postgresql://nobody@127.0.0.1:1/none")
    assert (ended.code, len(ended.err.splitlines())) == (2, 1)
    assert "needs resources of type Clients, which a command cannot make" in ended.err


@pytest.mark.parametrize("command", [["worker", FLOW], ["submit", FLOW], ["workers"]])
def test_wrong_database_is_refused(shell: Shell, cluster: Cluster, command: list[str]) -> None:
    """A file, no database, and one that does not exist: one line, exit code 2."""
    for words, text in (
        ([], "and none is named"),
        (["--db", "runs.sqlite"], "got the file runs.sqlite"),
        (["--db", cluster.url("missing")], "does not exist"),
    ):
        ended = shell(*command, *words)
        assert (ended.code, text in ended.err) == (2, True), ended.err
        assert "Traceback" not in ended.err


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["worker", "missing.py"], "missing.py does not exist"),
        (["worker", FLOW, "--slots", "0"], "slots=0"),
        (["worker", FLOW, "--runs", "0"], "runs=0"),
        (["worker", FLOW, "--grace", "-1"], "grace=-1"),
        (["worker", FLOW, "--pool", ""], "give names of pools"),
        (["worker", FLOW, "--pool", "a b=dask://h:1"], "give names of pools and schedulers"),
        (["worker", FLOW, "--pool", "a=dask://h:1", "--pool", "a"], "but not both"),
        (["worker", FLOW, "--pool", "a=dask://h:1", "--pool", "a=dask://i:1"], "two schedulers"),
        (["submit", FLOW, "--delay", "-1"], "delay=-1"),
        (["submit", FLOW, "--kind", "none"], "does not fit"),
        (["submit", FLOW, "-o", "out.json"], "no effect without --wait"),
    ],
)
def test_wrong_use_is_explained(shell: Shell, words: list[str], text: str) -> None:
    """What cannot work is refused before anything is connected."""
    ended = shell(*words, "--db", "postgresql://nobody@127.0.0.1:1/none")
    assert (ended.code, text in ended.err) == (2, True), ended.err
    assert not Path("out.json").exists()


@pytest.mark.parametrize(
    ("content", "code", "text"),
    [
        ("import no_such_module", 2, "ModuleNotFoundError: No module named 'no_such_module'"),
        ("1 / 0", 2, "ZeroDivisionError"),
        ("flow = Graph('g', Essay, input=Topic, output=Draft).chain(write, write).build()", 3, ""),
    ],
    ids=["import", "raises", "graph"],
)
def test_file_that_cannot_be_loaded_is_named(
    shell: Shell, content: str, code: int, text: str
) -> None:
    """A worker whose flow cannot be loaded ends at once, and names the line."""
    shell.write("broken.py", content)
    ended = shell("worker", "broken.py", "--db", "postgresql://nobody@127.0.0.1:1/none")
    assert (ended.code, text in ended.err) == (code, True), ended.err
    assert "broken.py" in ended.err
    assert "Traceback" not in ended.err

"""Settings of every test: no network beyond this machine, no keys, repeatable property tests."""

from __future__ import annotations

import gc
import ipaddress
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import hypothesis
import pytest

# A fixture that test files import is made once for each file; from here it is made once in all.
from tests.postgres.fixtures import cluster, database, tables, url

__all__ = ["cluster", "database", "tables", "url"]

# Fixed seeds and no deadline: a failure is the code's, not the day's or the machine's.
# `--hypothesis-profile=default` explores.
hypothesis.settings.register_profile(
    "graphorch", derandomize=True, deadline=None, database=None, print_blob=True
)
hypothesis.settings.load_profile("graphorch")


TESTS = Path(__file__).parent
# Files and folders of the marker `python_independent`. What it holds is known once for all Pythons.
PYTHON_INDEPENDENT = (
    "architecture/test_floors.py", "architecture/test_sources.py",  # the text of the sources
    "architecture/test_style.py", "architecture/test_words.py", "graphs/test_readme.py",
    "core/test_semantics.py", "core/test_transitions.py",  # pages and tables against the code
    "benchmarks/",  # measured, and compared with measurements
    "render/", "debugger/notebook/test_page.py",  # texts of pictures and pages
    "graph/estimate/", "graph/information_flow/",  # sets and sums
    "attacks/", "catalogue/", "mistakes/", "server/openapi/", "server/page/",  # texts, JavaScript
    "distributed/test_conformance.py", "simulation/",  # graphs drawn at random
    "cli/test_databases.py", "golden/test_database.py", "trace/spans/test_user_index.py",  # SQL of
    "journal/postgres/test_rows.py", "journal/postgres/test_store.py",  # a server
    "distributed/limits/test_rate_book.py", "distributed/limits/test_spend_book.py",
    "distributed/postgres_results/", "postgres/",
)  # fmt: skip


# Files and folders of the marker `broad`: half of the time of all tests that are not slow.
BROAD = (
    "scenarios/", "agents/mcp/", "cli/follow/", "cli/test_completion.py", "cli/test_databases.py",
    "cli/commands/models/test_trust.py", "cli/commands/runs/test_answer.py",
    "cli/commands/runs/test_export.py", "cli/commands/runs/test_rerun.py",
    "cli/commands/runs/test_resume.py", "cli/commands/runs/test_run_endpoints.py",
    "cli/commands/server/test_serve.py",
    "core/test_transitions.py", "distributed/limits/", "distributed/pgqueuer/",
    "distributed/test_conformance.py", "server/page/", "views/comparison/test_odd_runs.py",
    "engine/test_garbage.py", "graphs/test_sandboxed.py", "journal/postgres/",
    "journal/test_hash_chain.py", "journal/test_processes.py", "mcp_server/test_stdio.py",
    "models/guardrails/test_stream.py", "models/openai/test_answer.py",
    "models/openai/test_overhead.py", "models/policies/test_fastest.py",
    "models/policies/test_orderings.py", "models/policies/test_over_http.py", "render/layout/",
    "runs/test_cold_start.py", "server/export/test_crossings.py",
    "simulation/test_checks.py", "simulation/test_events.py",
    "simulation/test_planted.py", "testing/test_strategies.py", "workers/test_followed_runs.py",
    "workers/test_worker_limits.py",
)  # fmt: skip


@pytest.hookimpl(tryfirst=True)  # before `-m` selects
def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """Mark the tests that a run may leave out, by their files."""
    for item in items:
        if item.path.is_relative_to(TESTS):
            path = item.path.relative_to(TESTS).as_posix()
            if path.startswith(PYTHON_INDEPENDENT):
                item.add_marker("python_independent")
            if path.startswith(BROAD):
                item.add_marker("broad")


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """Spare the garbage collector the thousands of tests, which live to the end anyway."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="session")
def user_configuration(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the files that a test trusts out of the user's own configuration."""
    with pytest.MonkeyPatch.context() as patch:
        user = tmp_path_factory.mktemp("user")
        for kind in ("CONFIG", "STATE", "CACHE"):
            patch.setenv(f"XDG_{kind}_HOME", str(user / kind.lower()))
        yield


for _name in [
    name for name in os.environ if name.endswith("_API_KEY") or name.startswith("GRAPHORCH_")
]:
    del os.environ[_name]
# Hundreds of tests start a Python, and each would compile the package again: a second of each.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
os.environ["PYRIGHT_PYTHON_IGNORE_WARNINGS"] = "1"  # it would look for a newer version of itself


def _is_here(host: object) -> bool:
    """Return whether a host is this machine.

    None and "" mean it too, and a path is a socket of this machine.
    """
    name = host.decode("ascii", "replace") if isinstance(host, bytes) else host
    if name in (None, "", "localhost"):
        return True
    try:
        return ipaddress.ip_address(str(name)).is_loopback
    except ValueError:
        return False


def _refuse_the_network(event: str, arguments: tuple[object, ...]) -> None:
    """Fail the test that talks to another machine.

    It is an audit hook, so nothing is patched, and its error is not an `Exception`: a retry or a
    fallback cannot swallow it.
    """
    if event == "socket.getaddrinfo":
        host = arguments[0]
    elif event in ("socket.connect", "socket.sendto") and isinstance(arguments[1], tuple):
        host = arguments[1][0]
    else:
        return
    if not _is_here(host):
        raise pytest.fail.Exception(f"a test tried to reach {host!r}: tests talk to 127.0.0.1 only")


sys.addaudithook(_refuse_the_network)

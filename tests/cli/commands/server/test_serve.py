"""`graphorch serve` as a program: its link, its end, and each way in which it cannot start."""

from __future__ import annotations

import asyncio
import signal
import socket
import sqlite3
import stat
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from tests.cli.shell import Shell, start_program
from tests.server.serving import Answer

PORTS = ("--port", "0")


@asynccontextmanager
async def started(
    shell: Shell, *arguments: str
) -> AsyncGenerator[tuple[asyncio.subprocess.Process, str, str]]:
    """Start a server, and yield its process, its address and its token."""
    process = await start_program("serve", *arguments, *PORTS, here=shell.here)
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        async with asyncio.timeout(30):
            link = (await process.stdout.readline()).decode().strip()
        assert link, (await process.stderr.read()).decode()
        url, _, token = link.partition("#token=")
        yield process, url, token
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def ask(url: str, path: str, token: str) -> Answer:
    """Send a GET to a server and return the answer."""
    return await _send(url, f"GET {path}", token, b"")


async def post(url: str, path: str, token: str, body: bytes) -> Answer:
    """Send a POST to a server and return the answer."""
    return await _send(url, f"POST {path}", token, body)


async def _send(url: str, line: str, token: str, body: bytes) -> Answer:
    host = url.removeprefix("http://").removesuffix("/")
    reader, writer = await asyncio.open_connection("127.0.0.1", int(host.rpartition(":")[2]))
    request = f"{line} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n"
    if body:
        request += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    writer.write(f"{request}Connection: close\r\n\r\n".encode() + body)
    head, _, content = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    return Answer(int(head.split(b" ", 2)[1]), {}, content)


async def end(process: asyncio.subprocess.Process, number: signal.Signals) -> tuple[float, str]:
    """Send a signal; return the seconds until the process has ended, and its standard error."""
    assert process.stderr is not None
    begun = time.monotonic()
    process.send_signal(number)
    async with asyncio.timeout(10):
        text = (await process.stderr.read()).decode()
        await process.wait()
    return time.monotonic() - begun, text


def test_serve_prints_link_that_opens_api(shop_shell: Shell) -> None:
    """The link has the token in its fragment, the token opens the API, and Ctrl-C ends it."""

    async def main() -> None:
        async with started(shop_shell, "shop.py") as (process, url, token):
            about = await ask(url, "/api/about", token)
            assert about.status == 200
            assert (about.value["flows"], about.value["read_only"]) == (["order"], False)
            assert (await ask(url, "/api/about", "x" * 43)).status == 401
            _, said = await end(process, signal.SIGINT)
            assert process.returncode == 0
            assert "serving order; runs are kept in" in said
            assert "Traceback" not in said
            assert token not in said

    asyncio.run(main())


def test_serve_without_flow_only_reads(shop_shell: Shell) -> None:
    """A journal alone is shown, with a token that is another one after each start."""

    async def main() -> None:
        tokens: set[str] = set()
        for _ in range(2):
            async with started(shop_shell) as (process, url, token):
                assert (await ask(url, "/api/about", token)).value["read_only"]
                tokens.add(token)
                _, said = await end(process, signal.SIGTERM)
                assert process.returncode == 0
                assert "to read only" in said
        assert len(tokens) == 2

    asyncio.run(main())


@pytest.mark.slow
def test_serve_ends_at_once_with_open_streams(shop_shell: Shell) -> None:
    """Ctrl-C ends a server within a second while five pages hold a stream of events."""

    async def main() -> None:
        async with started(shop_shell) as (process, url, token):
            streams = [await open_stream(url, "/api/events", token) for _ in range(5)]
            seconds, said = await end(process, signal.SIGINT)
            assert process.returncode == 0
            assert seconds < 1.0
            assert "Traceback" not in said
            for reader, writer in streams:
                await reader.read()
                writer.close()

    asyncio.run(main())


async def open_stream(
    url: str, path: str, token: str
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Open a stream of events, and read its head."""
    host = url.removeprefix("http://").removesuffix("/")
    reader, writer = await asyncio.open_connection("127.0.0.1", int(host.rpartition(":")[2]))
    writer.write(
        f"GET {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
    )
    assert b"200 OK" in await reader.readuntil(b"\r\n\r\n")
    return reader, writer


@pytest.mark.slow
def test_serve_keeps_token_on_request(shop_shell: Shell) -> None:
    """With a file of its own the token is the same after each start."""
    folder = shop_shell.here / "mine"
    folder.mkdir(mode=0o700)

    async def main() -> None:
        tokens: set[str] = set()
        for _ in range(2):
            async with started(shop_shell, "--token-file", "mine/token") as (process, _, token):
                tokens.add(token)
                await end(process, signal.SIGINT)
        assert tokens == {(folder / "token").read_text().strip()}
        assert stat.S_IMODE((folder / "token").stat().st_mode) == 0o600

    asyncio.run(main())


SLOW = """
import asyncio

@node
async def hang(topic: Topic) -> Draft:
    await asyncio.sleep(3600)
    return Draft(draft="late")

flow = Graph("slow", Essay, input=Topic, output=Draft).chain(hang).build()
"""


def test_serve_stops_runs_under_way(shell: Shell) -> None:
    """Ctrl-C stops the runs that requests began within seconds, and says how to resume them."""
    shell.write("slow.py", SLOW)

    async def main() -> str:
        async with started(shell, "slow.py") as (process, url, token):
            begun = await post(url, "/api/flows/slow/runs", token, b'{"input": {"topic": "tides"}}')
            assert begun.status == 201
            run_id = begun.value["run_id"]
            seconds, said = await end(process, signal.SIGINT)
            assert process.returncode == 0
            assert "stopped 1 run under way; resume with:" in said
            assert f"graphorch resume FLOW {run_id[:8]}" in said
            assert seconds < 8  # one or two where nothing else runs
        return run_id

    shown = shell("runs", "show", asyncio.run(main()), "--json")
    assert '"stopped"' in shown.out


def test_serve_needs_journal_to_read(shell: Shell) -> None:
    """Without a flow and without a journal there is nothing to show, and nothing is made."""
    ended = shell("serve", *PORTS)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("error: There is no journal")
    assert not (shell.here / "graphorch.sqlite").exists()


def test_serve_names_taken_port(shop_shell: Shell) -> None:
    """A port that is taken is one line, and exit code 2."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        ended = shop_shell("serve", "--port", port)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith(f"error: Port {port} is taken")
    assert ended.err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--port", "99999"], "error: --port 99999: not a port."),
        (["--host", "0.0.0.0"], "error: --host 0.0.0.0 is reached from other machines"),
        (["--certificate", "a.pem"], "error: --certificate and --key belong together."),
        (
            ["shop.py", "--certificate", "a.pem", "--key", "b.pem", "--port", "0"],
            "error: The certificate 'a.pem' with the key 'b.pem' cannot be used:",
        ),
        (["--behind-proxy", "http://runs.example"], "error: --behind-proxy http://runs.example:"),
        (["--token-file", "none/token"], "error: --token-file none/token: it cannot be made"),
        (["--db", "mysql://host/x"], "error: The journal is named by a URL that begins with"),
        (["nothing.py"], "error: nothing.py does not exist."),
        (["shop.py", "shop.py"], "error: shop.py:flow is named twice."),
    ],
)
def test_serve_refuses_wrong_use(shop_shell: Shell, arguments: list[str], message: str) -> None:
    """What is wrong is said in a line, with exit code 2, before anything is served."""
    ended = shop_shell("serve", *arguments)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.splitlines()[-1].startswith(message), ended.err


def test_serve_refuses_unreadable_journals(shell: Shell) -> None:
    """Files that are no journal, or of a newer version, or a folder, are named and left alone."""
    (shell.here / "text.sqlite").write_text("no journal\n" * 1_000)
    with sqlite3.connect(shell.here / "other.sqlite") as other:
        other.execute("create table notes (text)")
    other.close()
    (shell.here / "folder.sqlite").mkdir()
    for name in ("text", "other", "folder"):
        ended = shell("serve", "--db", f"{name}.sqlite", *PORTS)
        assert (ended.code, ended.out) == (2, ""), name
        assert f"{name}.sqlite' is " in ended.err, name
        assert ended.err.count("\n") == 1, name


def test_serve_refuses_newer_journal(shop_shell: Shell) -> None:
    """A journal of a later version is not served half."""
    with sqlite3.connect(shop_shell.here / "graphorch.sqlite") as journal:
        journal.execute("pragma user_version = 999")
    journal.close()
    ended = shop_shell("serve", *PORTS)
    assert (ended.code, ended.out) == (2, "")
    assert "later version" in ended.err

"""Faults of real processes while workers run flows: what was lost, done twice, or paid twice.

`python -m tests.workers.chaos ROUNDS [SEED]` plays rounds. In each, runs are submitted to three
workers, and while they work something happens: a worker is killed, or stopped for longer than its
lease; it is stopped until another one took its runs, which is killed then; the server is restarted
as after a crash; every connection to it is cut; one worker cannot reach it for longer than its
lease; the link to it is slow. Dead workers are started again, as by a supervisor.
When all runs are over, the journal, the log of the nodes and that of the model server are compared.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socket import SHUT_RDWR, create_connection, create_server, socket
from typing import Any, Final

from graphorch.journal.store import Store
from graphorch.runs.stores import open_store
from graphorch.workers.overview import read_overview
from tests.postgres.cluster import Cluster
from tests.workers import chaotic

WORKERS: Final = 3
PAUSE: Final = 5.0  # seconds that a worker is stopped: longer than its lease
PATIENCE: Final = 120.0  # seconds in which the runs of a round have to be over
_PROGRAM: Final = str(Path(sys.executable).with_name("graphorch"))
FAULTS: Final = ("kill", "pause", "double", "restart", "cut", "isolate", "slow")
LATENCY: Final = 0.08  # seconds that each packet takes on a slow link


# ---- what runs beside the workers ----------------------------------------------------------------
class ModelServer(ThreadingHTTPServer):
    """A chat endpoint that writes down when it was asked for which run."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Chat)
        self.asked: list[tuple[str, float]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"


class _Chat(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        name = body["messages"][-1]["content"].rpartition("This is ")[2].rstrip(".")
        assert isinstance(self.server, ModelServer)
        self.server.asked.append((name, time.time()))
        time.sleep(random.Random(name).uniform(0, 0.3))
        message = {"role": "assistant", "content": f"dear {name}"}
        answer = json.dumps(
            {
                "id": "a",
                "object": "chat.completion",
                "created": 0,
                "model": body["model"],
                "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7},
            }
        ).encode()
        with suppress(OSError):  # the worker that asked is gone
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing."""


class Proxy:
    """A link to a port of this machine, which can be cut, closed for a while, or slow."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self._target = port
        self._listener = create_server((host, 0))
        self.port = int(self._listener.getsockname()[1])
        self._open: set[socket] = set()
        self.is_passable = True
        self.latency = 0.0
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """End every connection, in the middle of whatever goes through it."""
        for end in list(self._open):
            with suppress(OSError):
                end.shutdown(SHUT_RDWR)

    def close(self) -> None:
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._connect, args=(client,), daemon=True).start()

    def _connect(self, client: socket) -> None:
        try:
            if not self.is_passable:
                raise ConnectionRefusedError
            server = create_connection(("127.0.0.1", self._target))
        except OSError:
            client.close()
            return
        self._open |= {client, server}
        back = threading.Thread(target=self._pump, args=(server, client), daemon=True)
        back.start()
        self._pump(client, server)
        back.join()
        self._open -= {client, server}
        client.close()
        server.close()

    def _pump(self, source: socket, target: socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                time.sleep(self.latency)
                target.sendall(data)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(SHUT_RDWR)


# ---- workers -------------------------------------------------------------------------------------
@dataclass
class Crew:
    """Worker processes, which a supervisor starts again when they end."""

    url: str
    port: int
    folder: Path
    environment: dict[str, str]
    links: dict[int, Proxy] = field(default_factory=dict)  # by the id of the process
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    exits: Counter[int] = field(default_factory=Counter[int])

    def supervise(self) -> None:
        """Start workers until there are enough."""
        for process in self.processes:
            if process.poll() is not None:
                self.exits[process.returncode] += 1
                self.links.pop(process.pid).close()
        self.processes = [process for process in self.processes if process.poll() is None]
        while len(self.processes) < WORKERS:
            self.processes.append(self._start())

    def end(self) -> None:
        """Kill all workers."""
        for process in self.processes:
            process.kill()
            process.wait()

    def _start(self) -> subprocess.Popen[bytes]:
        link = Proxy(self.port)
        url = self.url.replace(str(self.port), str(link.port))
        command = [_PROGRAM, "worker", chaotic.__file__, "--db", url, "--slots", "8"]
        with (self.folder / "workers.log").open("ab") as log:
            process = subprocess.Popen(
                command, env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self.links[process.pid] = link
        return process


@dataclass
class Stage:
    """All that a round needs."""

    cluster: Cluster
    model: ModelServer
    crew: Crew
    log: Path
    url: str
    continued: dict[int, float] = field(default_factory=dict[int, float])
    """When a worker went on after it was stopped, by the id of its process."""


@contextmanager
def open_stage(folder: Path) -> Iterator[Stage]:
    """Start a server, a model, and workers with a link each."""
    with ExitStack() as stack:
        cluster = Cluster.start(folder / "cluster", is_durable=True)
        stack.callback(cluster.stop, "immediate")
        url = cluster.create_database()
        model = ModelServer()
        threading.Thread(target=model.serve_forever, daemon=True).start()
        stack.callback(model.shutdown)
        environment = {
            **os.environ,
            "CHAOS_LOG": str(folder / "nodes.log"),
            "OPENAI_BASE_URL": model.url,
            "OPENAI_API_KEY": "none",
            "GRAPHORCH_MODEL": "local",
        }
        _call(environment, "db", "init", "--db", url)
        crew = Crew(url, cluster.port, folder, environment)
        stack.callback(crew.end)
        crew.supervise()
        yield Stage(cluster, model, crew, folder / "nodes.log", url)


def _call(environment: dict[str, str], *arguments: str) -> None:
    command = [_PROGRAM, *arguments]
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)


# ---- faults --------------------------------------------------------------------------------------
def strike(stage: Stage, fault: str, chance: random.Random) -> None:
    """Let something happen to the workers or to their server."""
    victim = chance.choice(stage.crew.processes)
    links = stage.crew.links
    if fault == "kill":
        victim.kill()
    elif fault == "restart":
        stage.cluster.restart()
    elif fault == "cut":
        for link in links.values():
            link.cut()
    elif fault == "isolate":
        links[victim.pid].is_passable = False
        links[victim.pid].cut()
        time.sleep(PAUSE)
        links[victim.pid].is_passable = True
    elif fault == "slow":
        for link in links.values():
            link.latency = LATENCY
        time.sleep(PAUSE)
        for link in links.values():
            link.latency = 0
    else:
        victim.send_signal(signal.SIGSTOP)
        time.sleep(PAUSE)
        if fault == "double":
            # Whoever took over dies as well, while the first one comes back.
            other = chance.choice([item for item in stage.crew.processes if item is not victim])
            other.kill()
        stage.continued[victim.pid] = time.time()
        victim.send_signal(signal.SIGCONT)


# ---- rounds --------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Outcome:
    """What a round did wrong, and the seconds from the fault until all runs were over."""

    problems: Sequence[str]
    seconds: float


async def play_round(stage: Stage, number: int, fault: str, chance: random.Random) -> Outcome:
    """Submit runs, let something happen, wait until they are over, and look at what was done."""
    await _wait_for_workers(stage)
    orders = [chaotic.Order(name=f"run{number}-{index}", seed=number + 1) for index in range(2)]
    for order in orders:
        await chaotic.flow.submit(order, run_id=order.name, durable=stage.url)
    await asyncio.sleep(chance.uniform(0.1, 1.2))
    await asyncio.to_thread(strike, stage, fault, chance)
    began = time.monotonic()
    async with open_store(stage.url) as store:
        problems = await _wait(stage, store, orders)
        seconds = time.monotonic() - began
        for order in orders:
            problems += await _inspect(stage, store, order)
    return Outcome(problems, seconds)


async def _wait_for_workers(stage: Stage) -> None:
    """Return once all workers take runs: a fault that meets one that starts would be lost."""
    async with asyncio.timeout(PATIENCE):
        while True:
            stage.crew.supervise()
            started = {process.pid for process in stage.crew.processes}
            living = {worker.pid for worker in (await read_overview(stage.url)).workers}
            if started <= living:
                return
            await asyncio.sleep(0.5)


async def _wait(stage: Stage, store: Store, orders: list[chaotic.Order]) -> list[str]:
    """Wait until all runs succeeded; return those that did not."""
    end = time.monotonic() + PATIENCE
    left = {order.name for order in orders}
    heads: dict[str, str] = {}
    while left and time.monotonic() < end:
        stage.crew.supervise()
        for name in sorted(left):
            heads[name] = (await store.load(name)).head.status
            if heads[name] == "succeeded":
                left.discard(name)
        await asyncio.sleep(0.2)
    return [f"{name} is {heads[name]}" for name in sorted(left)]


async def _inspect(stage: Stage, store: Store, order: chaotic.Order) -> list[str]:
    """Return what a run did that it must not do."""
    problems: list[str] = []
    records = (await store.load(order.name)).records
    commits: dict[str, float] = {}
    answered: float | None = None
    for record in records:
        body: Any = record.body
        if record.kind == "commit":
            if body["id"] in commits:
                problems.append(f"{order.name}: {body['path']} was committed twice")
            commits[body["id"]] = body["at"]
        elif record.kind == "call":
            if answered is not None:
                problems.append(f"{order.name}: an answer was recorded twice")
            answered = body["at"]
    begins = [json.loads(line) for line in stage.log.read_text().splitlines()]
    for begin in begins:
        if begin["name"] == order.name and begin["at"] > commits.get(begin["id"], begin["at"]):
            late = begin["at"] - commits[begin["id"]]
            awake = begin["at"] - stage.continued.get(begin["pid"], math.nan)
            problems.append(
                f"{order.name}: {begin['path']} ran again {late:.3f} s after its commit, "
                f"{awake:.3f} s after its process went on"
            )
    for name, at in stage.model.asked:
        if name == order.name and answered is not None and at > answered:
            problems.append(f"{order.name}: paid again {at - answered:.3f} s after the answer")
    result = await chaotic.flow.replay(order.name, durable=store)
    if result.status == "succeeded" and result.output.total != chaotic.expected(order):
        problems.append(f"{order.name}: {result.output.total!r} is wrong")
    return problems


def main() -> None:
    """Play as many rounds as the first argument says, from the seed that the second one says."""
    rounds, seed = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0
    chance, failed = random.Random(seed), 0
    slowest: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as name, open_stage(Path(name)) as stage:
        for number in range(rounds):
            fault = FAULTS[number % len(FAULTS)]
            outcome = asyncio.run(play_round(stage, number, fault, chance))
            slowest[fault] = max(slowest.get(fault, 0.0), outcome.seconds)
            failed += bool(outcome.problems)
            print(f"{number} {fault} {outcome.seconds:.1f} s", *outcome.problems, flush=True)
        print(f"{rounds} rounds, {failed} with problems; exits {dict(stage.crew.exits)}; {slowest}")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()

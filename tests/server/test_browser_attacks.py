"""Pages of others in a real browser: neither another origin nor a rebound host gets anything.

The attackers even know the token, so that it is the browser's side of the gate that is tested.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from graphorch.server.app import build_router
from graphorch.server.context import ServerContext
from graphorch.server.gate.gate import Gate
from graphorch.server.static_files import read_static_files
from tests.server.serving import TOKEN, running
from tests.trace.flows import shop

CHROMIUM = "/usr/bin/chromium"
EVIL = "evil.example"

# Each attack returns what it got; "" is nothing.
ATTACKS = """
async (target) => {
  const token = {authorization: "Bearer TOKEN"};
  const body = '{"input": {}}';
  const json = {"content-type": "application/json"};
  const plain = {"content-type": "text/plain"};
  const read = async (path, options) => {
    try {
      const answer = await fetch(target + path, options);
      if (answer.type === "opaque" || answer.status === 421) return "";
      return `${path}: ${answer.status} ${await answer.text()}`;
    } catch { return ""; }
  };
  const loads = (element, options) => new Promise((resolve) => {
    const made = Object.assign(document.createElement(element), options);
    made.onload = () => resolve(`${element} ${options.src ?? options.href} loaded`);
    made.onerror = () => resolve("");
    document.body.append(made);
    setTimeout(resolve, 1500, "");
  });
  const opens = (make) => new Promise((resolve) => {
    const stream = make();
    stream.onopen = () => resolve("a stream opened");
    stream.onerror = () => resolve("");
    setTimeout(resolve, 1500, "");
  });
  const form = document.createElement("form");
  const action = target + "/api/runs/x/cancel";
  Object.assign(form, {action, method: "post", enctype: "text/plain", target: "sink"});
  const sink = Object.assign(document.createElement("iframe"), {name: "sink"});
  document.body.append(sink, form);
  form.submit();
  const frame = document.createElement("iframe");
  frame.src = target + "/";
  document.body.append(frame);
  await new Promise((resolve) => setTimeout(resolve, 500));
  let framed = "";
  try { framed = frame.contentDocument?.querySelector("script") ? "framed" : ""; } catch {}
  navigator.sendBeacon(target + "/api/flows/order/runs", new Blob([body], {type: "text/plain"}));
  return [
    framed,
    await read("/api/about", {}),
    await read("/api/about", {headers: token}),
    await read("/api/about", {headers: token, mode: "no-cors"}),
    await read("/api/about", {credentials: "include"}),
    await read("/api/flows/order/runs", {method: "POST", body, headers: {...token, ...json}}),
    await read("/api/flows/order/runs", {method: "POST", body, headers: plain, mode: "no-cors"}),
    await read("/api/runs/x", {method: "DELETE", headers: token}),
    await read("/", {}),
    await read("/app.js", {}),
    await read("/healthz", {}),
    await loads("script", {src: target + "/app.js", type: "module"}),
    await loads("script", {src: target + "/app.js"}),
    await loads("img", {src: target + "/icon.svg"}),
    await loads("link", {href: target + "/style/base.css", rel: "stylesheet"}),
    await opens(() => new EventSource(target + "/api/events")),
    await opens(() => new WebSocket(target.replace("http", "ws") + "/api/events")),
  ].filter(Boolean);
}
""".replace("TOKEN", TOKEN)


@dataclass(slots=True)
class Passed:
    """An application that notes which requests the gate let in."""

    paths: list[str] = field(default_factory=list[str])

    def build(self, context: ServerContext) -> ASGIApp:
        files = read_static_files()
        router = build_router(context, files)

        async def note(scope: Scope, receive: Receive, send: Send) -> None:
            self.paths.append(f"{scope['method']} {scope['path']}")
            await router(scope, receive, send)

        return Gate(note, context.settings, frozenset(files))


@asynccontextmanager
async def browser_page(*arguments: str) -> AsyncGenerator[Any]:
    """Open a page of a browser without any protection of its own between sites of this machine."""
    from playwright.async_api import async_playwright

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-features=LocalNetworkAccessChecks", *arguments],
        )
        yield await browser.new_page()
        await browser.close()


async def serve_evil_page(page: Any, url: str) -> None:
    """Show an empty page at an address, as its server would."""

    async def fulfill(route: Any) -> None:
        await route.fulfill(body="<!doctype html><body></body>", content_type="text/html")

    await page.route(url, fulfill)
    await page.goto(url)


@pytest.mark.slow
@pytest.mark.parametrize("host", [EVIL, "localhost", "127.0.0.1"])
def test_page_of_another_origin_gets_nothing(tmp_path: Path, host: str) -> None:
    """A page elsewhere, or of another server on this machine, reads nothing and changes nothing."""

    async def main() -> None:
        passed = Passed()
        async with running(tmp_path, shop(), build=passed.build) as server:
            async with browser_page() as page:
                await serve_evil_page(page, f"http://{host}:1234/evil")
                assert await page.evaluate(ATTACKS, server.url.rstrip("/")) == []
        assert passed.paths == []

    asyncio.run(main())


@pytest.mark.slow
def test_rebound_host_gets_nothing(tmp_path: Path) -> None:
    """A page whose name leads here by now is of the same origin to the browser, not to the gate."""

    async def main() -> None:
        passed = Passed()
        async with running(tmp_path, shop(), build=passed.build) as server:
            rules = f"--host-resolver-rules=MAP {EVIL} 127.0.0.1"
            origin = f"http://{EVIL}:{server.port}"
            async with browser_page(rules) as page:
                await serve_evil_page(page, f"{origin}/evil")
                assert await page.evaluate(ATTACKS, origin) == []
                answer = await page.goto(f"{origin}/")
                assert answer.status == 421
                assert "runs.sqlite" not in await answer.text()
        assert passed.paths == []

    asyncio.run(main())


@pytest.mark.slow
def test_own_page_gets_in(tmp_path: Path) -> None:
    """The same browser shows the server's own page: it is the attackers that are kept out."""

    async def main() -> None:
        passed = Passed()
        async with running(tmp_path, shop(), build=passed.build) as server:
            async with browser_page() as page:
                await page.goto(f"{server.url}#token={TOKEN}")
                await page.wait_for_function("() => !location.hash.includes('token')")
                assert TOKEN not in page.url
                got = await page.evaluate(
                    "(token) => fetch('/api/about', {headers: {authorization: `Bearer ${token}`}})"
                    ".then((answer) => answer.json())",
                    TOKEN,
                )
                assert got["flows"] == ["order"]
        assert "GET /app.js" in passed.paths
        assert "GET /api/about" in passed.paths

    asyncio.run(main())

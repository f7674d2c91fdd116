"""The static files of the page, read once at the start: no path of a request reaches a disk."""

from __future__ import annotations

import hashlib
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from graphorch.server.gate.gate import send_problem
from graphorch.server.page import PageFile, read_page
from graphorch.server.problems import Problem

_INDEX: Final = "index.html"
_HEALTH: Final = PageFile(b"ok", "text/plain; charset=utf-8")


def read_static_files() -> dict[str, PageFile]:
    """Return what is served without a token, by paths: the files of the page, and `/healthz`."""
    page = read_page()
    index = page.pop(_INDEX)
    return {"/": index, "/healthz": _HEALTH, **{f"/{path}": file for path, file in page.items()}}


def serve_file(file: PageFile) -> ASGIApp:
    """Return the application that answers with a file, or that the browser has it already."""
    tag = b'"%s"' % hashlib.sha256(file.content).hexdigest()[:32].encode()

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] not in ("GET", "HEAD"):
            problem = Problem(
                405, "method", "A file is only read: use GET.", headers={"allow": "GET, HEAD"}
            )
            await send_problem(problem, scope, send)
            return
        is_known = (b"if-none-match", tag) in scope["headers"]
        headers = [
            (b"content-type", file.media_type.encode()),
            (b"cache-control", b"no-cache"),  # kept, and asked for again: it is this version's
            (b"etag", tag),
        ]
        if not is_known:
            headers.append((b"content-length", str(len(file.content)).encode()))
        await send(
            {"type": "http.response.start", "status": 304 if is_known else 200, "headers": headers}
        )
        body = b"" if is_known or scope["method"] == "HEAD" else file.content
        await send({"type": "http.response.body", "body": body})

    return serve

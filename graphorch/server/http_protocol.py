"""HTTP/1.1 on a connection: what is no request is answered with a problem as well.

uvicorn answers it by itself, before any application, in plain text and without our headers.
"""

from __future__ import annotations

from typing import Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from graphorch.server.gate.headers import FIXED
from graphorch.server.problems import MEDIA_TYPE, Problem

LONGEST_HEAD: Final = 32 * 1024  # bytes of a request line with its headers


class HttpProtocol(H11Protocol):
    """The protocol of uvicorn, whose own refusals are problems."""

    def send_400_response(self, msg: str) -> None:
        """Answer bytes that are no request, and close the connection."""
        problem = Problem(
            400,
            "http",
            f"This is not a request of HTTP/1.1, or its head is longer than {LONGEST_HEAD:,} "
            "bytes.",
        )
        body = problem.encode()
        headers = [
            (b"content-type", MEDIA_TYPE.encode()),
            (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),
            *FIXED,
        ]
        response = h11.Response(status_code=400, headers=headers, reason=b"Bad Request")
        for event in (response, h11.Data(data=body), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

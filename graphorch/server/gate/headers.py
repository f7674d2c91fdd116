"""The headers that every response has, whatever made it: what a browser may do with it."""

from __future__ import annotations

from typing import Final

from starlette.types import Message, Send

CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
_ALWAYS: Final = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
_UNLESS_GIVEN: Final = {"cache-control": "no-store"}

FIXED: Final = [(name.encode(), value.encode()) for name, value in _ALWAYS.items()]
_DEFAULTS: Final = [(name.encode(), value.encode()) for name, value in _UNLESS_GIVEN.items()]
_FIXED_NAMES: Final = frozenset(name for name, _ in FIXED)


def add_headers(send: Send) -> Send:
    """Return a `send` that gives a response these headers; none of them can be replaced."""

    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            given = [pair for pair in message.get("headers", []) if pair[0] not in _FIXED_NAMES]
            names = {name for name, _ in given}
            defaults = [pair for pair in _DEFAULTS if pair[0] not in names]
            message = {**message, "headers": [*given, *defaults, *FIXED]}
        await send(message)

    return send_with_headers

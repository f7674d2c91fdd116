"""Programs between a client and a server: one that cuts connections, one that shares them."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit, urlunsplit

_SSL_REQUEST = (80877103).to_bytes(4, "big")
_GSS_REQUEST = (80877104).to_bytes(4, "big")


def _read_exactly(source: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = source.recv(size - len(data))
        if not part:
            raise ConnectionError("closed")
        data += part
    return data


class Proxy:
    """Passes on what a client and a server say; `serve` takes each connection in a thread."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None
        self._server = parts.hostname, parts.port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = []
        port = self._listener.getsockname()[1]
        self.url = urlunsplit(parts._replace(netloc=f"{parts.username}@127.0.0.1:{port}"))

    def run(self) -> None:
        """Take connections until the listener is closed."""
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._sockets.append(client)
                threading.Thread(target=self._serve_quietly, args=(client,), daemon=True).start()

    def close(self) -> None:
        """Close the listener and all connections."""
        for end in (self._listener, *self._sockets):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def connect(self) -> socket.socket:
        """Return a new connection to the server."""
        server = socket.create_connection(self._server)
        self._sockets.append(server)
        return server

    def serve(self, client: socket.socket) -> None:
        """Serve a client until one of the two ends."""
        raise NotImplementedError

    def _serve_quietly(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            self.serve(client)


@contextmanager
def running(proxy: Proxy) -> Iterator[None]:
    """Run a proxy in a thread."""
    thread = threading.Thread(target=proxy.run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        proxy.close()
        thread.join(5)


class CuttingProxy(Proxy):
    """Cuts a connection between a request that has `marker` in it and its reply, `cuts` times.

    The server has run the request by then. `is_open` may be unset, to refuse new connections.
    """

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.marker = b""
        self.cuts = 0
        self.is_open = True

    def serve(self, client: socket.socket) -> None:
        """See `Proxy.serve`."""
        if not self.is_open:
            client.close()
            return
        server = self.connect()
        doomed = threading.Event()

        def answer() -> None:
            with contextlib.suppress(OSError):
                while data := server.recv(65536):
                    if doomed.is_set():
                        break
                    client.sendall(data)
            for end in (client, server):
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

        threading.Thread(target=answer, daemon=True).start()
        while data := client.recv(65536):
            if self.cuts and self.marker and self.marker in data:
                self.cuts -= 1
                doomed.set()
            server.sendall(data)
        server.close()


class TransactionPooler(Proxy):
    """Shares one connection to the server: a client has it for a transaction."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._lock = threading.Lock()
        self._shared: socket.socket | None = None
        self._greeting = b""

    def serve(self, client: socket.socket) -> None:
        """See `Proxy.serve`."""
        with self._lock:
            client.sendall(self._greet(client))
        while True:
            message = client.recv(65536)
            if not message or message[:1] == b"X":
                return
            with self._lock:
                self._pass_on(client, message)

    def _greet(self, client: socket.socket) -> bytes:
        """Return what the server said to the first client."""
        while True:
            length = _read_exactly(client, 4)
            body = _read_exactly(client, int.from_bytes(length, "big") - 4)
            if body[:4] not in (_SSL_REQUEST, _GSS_REQUEST):
                break
            client.sendall(b"N")
        if self._shared is None:
            self._shared = self.connect()
            self._shared.sendall(length + body)
            self._greeting, _ = self._read_reply()
        return self._greeting

    def _pass_on(self, client: socket.socket, message: bytes) -> None:
        assert self._shared is not None
        while True:
            self._shared.sendall(message)
            reply, status = self._read_reply()
            client.sendall(reply)
            if status == b"I":
                return
            message = client.recv(65536)
            if not message:
                raise ConnectionError("closed")

    def _read_reply(self) -> tuple[bytes, bytes]:
        """Return all messages up to the one that says that the server is ready, and its status."""
        assert self._shared is not None
        reply = b""
        while True:
            head = _read_exactly(self._shared, 5)
            body = _read_exactly(self._shared, int.from_bytes(head[1:], "big") - 4)
            reply += head + body
            if head[:1] == b"Z":
                return reply, body

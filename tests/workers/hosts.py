"""Hosts on one machine: network namespaces, each with a link to the server that can fail."""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from tests.workers.chaos import Proxy


@dataclass(frozen=True)
class Host:
    """A namespace whose one link leads to this machine; there, `proxy` passes on to the server."""

    name: str
    link: str
    proxy: Proxy
    address: str

    def disconnect(self) -> None:
        """Drop all packets, without a word to either side."""
        run_ip("link", "set", self.link, "down")

    def connect(self) -> None:
        run_ip("link", "set", self.link, "up")

    def slow_down(self, rate: str) -> None:
        """Let what comes from the server take its time."""
        shape = ("rate", rate, "burst", "4kb", "latency", "3s")
        run("tc", "qdisc", "add", "dev", self.link, "root", "tbf", *shape)

    def rewrite(self, url: str, port: int) -> str:
        """Return the URL of a database as this host reaches it."""
        return url.replace(f"127.0.0.1:{port}", f"{self.address}:{self.proxy.port}")


def run(*command: str) -> None:
    """Run a command. Raises `OSError` with its words if it fails, or is not there."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"{' '.join(command)}: {done.stderr.strip()}")


def run_ip(*arguments: str) -> None:
    run("ip", *arguments)


@contextmanager
def open_hosts(count: int, port: int) -> Iterator[list[Host]]:
    """Make hosts that reach a port of this machine. Raises `OSError` where they cannot be had."""
    with ExitStack() as stack:
        yield [_open_host(stack, number, port) for number in range(count)]


def _open_host(stack: ExitStack, number: int, port: int) -> Host:
    name = f"go{secrets.token_hex(4)}"
    link, inside = f"{name}h", f"{name}n"
    network = f"10.213.{secrets.randbelow(256)}.{4 * number}"
    here, there = (network.rpartition(".")[0] + f".{4 * number + end}" for end in (1, 2))
    run_ip("netns", "add", name)
    stack.callback(run_ip, "netns", "del", name)  # and the link with it
    run_ip("link", "add", link, "type", "veth", "peer", "name", inside, "netns", name)
    run_ip("addr", "add", f"{here}/30", "dev", link)
    run_ip("link", "set", link, "up")
    run_ip("-n", name, "addr", "add", f"{there}/30", "dev", inside)
    run_ip("-n", name, "link", "set", inside, "up")
    run_ip("-n", name, "link", "set", "lo", "up")
    proxy = Proxy(port, here)
    stack.callback(proxy.close)
    return Host(name, link, proxy, here)

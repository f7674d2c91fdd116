"""A real pooler for tests: PgBouncer on a free port of this machine, as an ordinary user."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.postgres.cluster import Cluster


def find_pgbouncer() -> str | None:
    """Return the program; Debian keeps it where ordinary users do not look."""
    return shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")


@contextmanager
def running_pgbouncer(cluster: Cluster, mode: str) -> Iterator[int]:
    """Yield the port of a pooler before a server, in mode `session`, `transaction`, `statement`."""
    program = find_pgbouncer()
    assert program is not None
    folder = cluster.folder / f"pgbouncer-{mode}"
    folder.mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    settings = {
        "listen_addr": "127.0.0.1",
        "listen_port": str(port),
        "unix_socket_dir": "",
        "auth_type": "trust",
        "auth_file": str(folder / "users"),
        "pool_mode": mode,
        "logfile": str(folder / "log"),
    }
    lines = ["[databases]", f"* = host=127.0.0.1 port={cluster.port}", "[pgbouncer]"]
    lines += [f"{name} = {value}" for name, value in settings.items()]
    (folder / "settings").write_text("\n".join(lines))
    (folder / "users").write_text('"postgres" ""\n')
    command = [program, "-q", str(folder / "settings")]
    if os.geteuid() == 0:  # it refuses to run as root
        shutil.chown(folder, "postgres", "postgres")
        user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
        command = [*user, *command]
    process = subprocess.Popen(command)
    try:
        _wait_for(port)
        yield port
    finally:
        process.kill()
        process.wait()


def _wait_for(port: int) -> None:
    end = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            assert time.monotonic() < end, "PgBouncer did not start"
            time.sleep(0.02)

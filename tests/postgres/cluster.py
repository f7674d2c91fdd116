"""A private PostgreSQL server for tests: its own folder, a free port of this machine, no password.

PostgreSQL refuses to run as root, so root starts it as the user `postgres` of Debian's package.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

_DEBIAN = Path("/usr/lib/postgresql")
# Databases of tests may be lost with the machine, so no test waits for its disk.
_FAST = {"fsync": "off", "full_page_writes": "off", "max_connections": "200"}


def find_programs() -> Path | None:
    """Return the folder of PostgreSQL's programs, of the newest version; None without one."""
    if path := shutil.which("pg_ctl"):
        return Path(path).resolve().parent
    versions = sorted(_DEBIAN.glob("*/bin/pg_ctl"), key=lambda path: int(path.parts[-3]))
    return versions[-1].parent if versions else None


@dataclass(frozen=True)
class Cluster:
    """A running server, or one that was stopped; `folder` is the parent of its data."""

    programs: Path
    folder: Path
    port: int

    @classmethod
    def start(cls, folder: Path, *, is_durable: bool = False) -> Cluster:
        """Make a new cluster in a folder, and start it.

        Without `is_durable` a commit does not wait for the disk.
        """
        programs = find_programs()
        assert programs is not None, "PostgreSQL is not installed"
        folder.mkdir(parents=True, exist_ok=True)
        if os.geteuid() == 0:
            shutil.chown(folder, "postgres", "postgres")
            for parent in folder.parents:
                if parent.stat().st_uid == 0 and not parent.stat().st_mode & 0o001:
                    parent.chmod(parent.stat().st_mode | 0o011)
        cluster = cls(programs, folder, _find_free_port())
        cluster._call(
            "initdb", "--auth=trust", "--username=postgres", "--encoding=UTF8", "--no-sync"
        )
        settings = {
            "listen_addresses": "'127.0.0.1'",
            "port": str(cluster.port),
            "unix_socket_directories": "''",
            **({"max_connections": "200"} if is_durable else _FAST),
        }
        with (folder / "data" / "postgresql.conf").open("a") as file:
            file.writelines(f"{name} = {value}\n" for name, value in settings.items())
        cluster.begin()
        return cluster

    def begin(self) -> None:
        """Start the server, and wait until it takes connections."""
        self._call("pg_ctl", "--wait", f"--log={self.folder / 'log'}", "start")

    def stop(self, mode: str = "fast") -> None:
        """Stop the server; `immediate` is a crash."""
        self._call("pg_ctl", "--wait", f"--mode={mode}", "stop")

    def restart(self, mode: str = "immediate") -> None:
        """Stop the server as in a crash, and start it again."""
        self.stop(mode)
        self.begin()

    @contextmanager
    def away(self) -> Iterator[None]:
        """Stop the server as in a crash for a block, and start it again whatever happens."""
        self.stop("immediate")
        try:
            yield
        finally:
            self.begin()

    def url(self, database: str = "postgres", user: str = "postgres") -> str:
        """Return the URL of a database."""
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"

    def create_database(self) -> str:
        """Create an empty database; return its URL."""
        name = f"test_{secrets.token_hex(6)}"
        self.execute(f"CREATE DATABASE {name}")
        return self.url(name)

    def drop_database(self, url: str) -> None:
        """Delete a database, whoever is connected to it."""
        self.execute(f"DROP DATABASE IF EXISTS {url.rpartition('/')[2]} WITH (FORCE)")

    def execute(self, statement: str) -> None:
        """Run a statement as the owner of the server."""
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(statement.encode())

    def _call(self, program: str, *arguments: str) -> None:
        command = [str(self.programs / program), f"--pgdata={self.folder / 'data'}", *arguments]
        if os.geteuid() == 0:
            command = [
                "setpriv",
                "--reuid=postgres",
                "--regid=postgres",
                "--clear-groups",
                *command,
            ]
        done = subprocess.run(
            command,
            cwd=self.folder,
            env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "HOME": str(self.folder)},
            stdin=subprocess.DEVNULL,
            # The server inherits them, so a pipe would never end.
            stdout=(output := (self.folder / "output").open("ab")),
            stderr=subprocess.STDOUT,
            check=False,
        )
        output.close()
        if done.returncode:
            raise RuntimeError(f"{program} failed: {(self.folder / 'output').read_text()[-2000:]}")


def _find_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

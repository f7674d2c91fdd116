"""Wall between unread code and the machine: which there are, and what each of them enforces.

bubblewrap (Linux, `apt install bubblewrap`; the default) gives the code namespaces of its own. The
kernel enforces that it has no network and sees no other process; that it reads the interpreter,
the programs and libraries of the system and the files of its task, and writes to nothing but an
empty folder in memory of limited size; that it has no environment variable and no capability, and
runs under limits on time, memory and processes. Started by root, it runs as another user. All of it
is gone when it ends. A bug of the kernel is not guarded against, since the kernel is shared.

container (`podman`, or else `docker`) enforces the same through the container engine, and limits
the memory of all processes together. Its image has to be there already.

none enforces limits on time, memory and the size of files, and nothing else: the code can read what
you can read, and send it anywhere. It is for code that you trust, and for machines that are thrown
away.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Isolation = Literal["bubblewrap", "container", "none"]

_PROCESSES = 16
_CODE, _WORK = "/code", "/work"
# System users of the range that systemd gives to services which exist only while they run.
_FIRST_USER, _LAST_USER = 61_184, 65_519
_ENGINE_VARIABLES = ("PATH", "HOME", "XDG_RUNTIME_DIR", "DOCKER_HOST", "CONTAINERS_CONF")
_SYSTEM_FOLDERS = ("/lib", "/lib32", "/lib64", "/etc/ld.so.cache")


class SandboxMissing(RuntimeError):
    """The isolation that was asked for cannot be had on this machine."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits on what the code may use.

    They are seconds on the clock and of the processor, megabytes of memory of each of at most 16
    processes and threads (of all together in a container), and megabytes of each file that it
    writes, of what it prints, and of its whole folder sixteen times as much.
    """

    seconds: float = 2.0
    megabytes: int = 256
    file_megabytes: int = 1


@dataclass(frozen=True, slots=True)
class Command:
    """Program that starts the guard behind a wall, and how it is stopped."""

    arguments: list[str]
    environment: dict[str, str]
    seconds_to_start: float
    isolation: Isolation
    container: tuple[str, str] | None = None  # engine and name of the container

    async def kill(self, process: asyncio.subprocess.Process) -> None:
        """Kill the process with all that it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        if self.container:
            engine, name = self.container
            # Without the first step, the engine waits for the code to end by itself.
            for step in (["kill", name], ["rm", "--force", name]):
                removal = await asyncio.create_subprocess_exec(
                    engine, *step, env=self.environment,
                    stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
                )  # fmt: skip
                await removal.wait()
        await process.wait()

    def explain_failure(self, code: int, printed: bytes) -> None:
        """Raise SandboxMissing if it was the wall that failed, and not the code behind it."""
        text = printed.decode("utf-8", "replace").strip()
        engine_failed = self.container and code in (125, 126, 127)
        if engine_failed or text.startswith(("bwrap:", "setpriv:")):
            raise SandboxMissing(_describe_missing(self.isolation, text))


def check_isolation(isolation: Isolation, image: str) -> str:
    """Return what the isolation is, with its version; raise SandboxMissing if it cannot be had.

    An empty program is run behind it, since an installed tool may still be forbidden to work.
    """
    if isolation == "none":
        return "none: limits on time and memory only"
    command = build_command(Path("/"), Limits(), isolation, image, program=["-c", "pass"])
    try:
        probe = subprocess.run(
            command.arguments, env=command.environment, capture_output=True, timeout=60, check=False
        )
    except subprocess.TimeoutExpired:
        raise SandboxMissing(_describe_missing(isolation, "it did not start in 60 s")) from None
    if probe.returncode:
        text = probe.stderr.decode("utf-8", "replace").strip()
        raise SandboxMissing(_describe_missing(isolation, text or f"exit code {probe.returncode}"))
    tool = command.container[0] if command.container else "bwrap"
    version = subprocess.run([tool, "--version"], capture_output=True, check=False)
    return version.stdout.decode("utf-8", "replace").strip()


def build_command(
    folder: Path,
    limits: Limits,
    isolation: Isolation,
    image: str,
    program: list[str] | None = None,
) -> Command:
    """Return the command that runs a folder's guard, or other arguments of the interpreter."""
    code = str(folder) if isolation == "none" else _CODE
    numbers = [str(limits.seconds), str(limits.megabytes), str(limits.file_megabytes)]
    # A container counts its processes itself; the kernel's limit would count those of its user.
    processes = 0 if isolation == "container" else _PROCESSES
    program = program or [f"{code}/guard.py", code, *numbers, str(processes)]
    arguments = ["-I", "-S", "-B", *program]
    if isolation == "bubblewrap":
        wall = _wall_of_bubblewrap(folder, limits)
        return Command([*wall, _find_interpreter(), *arguments], {}, 1.0, isolation)
    if isolation == "container":
        return _container(folder, limits, image, arguments)
    environment = {"HOME": code}
    return Command([_find_interpreter(), *arguments], environment, 1.0, isolation)


def _find_interpreter() -> str:
    """Return the interpreter itself, without the packages of its virtual environment."""
    return os.path.realpath(sys.executable)


def _wall_of_bubblewrap(folder: Path, limits: Limits) -> list[str]:
    bwrap = shutil.which("bwrap") if sys.platform == "linux" else None
    if bwrap is None:
        raise SandboxMissing(_describe_missing("bubblewrap", "bwrap is not on PATH"))
    is_root = os.geteuid() == 0
    wall = [bwrap, "--die-with-parent", "--new-session", "--clearenv", "--cap-drop", "ALL"]
    if is_root:
        # Root is free of the limit on processes, also inside of a user namespace. So another user
        # is taken, and the right to become that user is given up with the step.
        wall += ["--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts"]
        wall += ["--unshare-cgroup-try", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    else:
        wall += ["--unshare-all", "--unshare-user", "--disable-userns"]
    wall += ["--ro-bind", "/usr", "/usr"]
    wall += ["--perms", "0755", "--dir", "/etc"]
    for path in _SYSTEM_FOLDERS:
        wall += ["--ro-bind-try", path, path]
    wall += _bind_interpreter()
    wall += ["--ro-bind", str(folder), _CODE] if folder != Path("/") else []
    wall += ["--dev", "/dev", "--remount-ro", "/dev"]
    wall += ["--perms", "1777", "--size", str(limits.file_megabytes << 24), "--tmpfs", _WORK]
    wall += ["--remount-ro", "/", "--chdir", _WORK]
    if is_root:
        user = str(random.SystemRandom().randint(_FIRST_USER, _LAST_USER))
        wall += ["setpriv", "--reuid", user, "--regid", user, "--clear-groups", "--no-new-privs"]
        wall += ["--inh-caps=-all", "--ambient-caps=-all", "--bounding-set=-all"]
    return wall


def _bind_interpreter() -> list[str]:
    """Return the options that show the interpreter's own folder, if it is not the system's."""
    prefix = Path(os.path.realpath(sys.base_prefix))
    if prefix == Path("/usr") or Path("/usr") in prefix.parents:
        return []
    options: list[str] = []
    for parent in reversed(prefix.parents[:-1]):
        # Only the name of a folder above is visible, and never what lies beside.
        options += ["--perms", "0755", "--dir", str(parent)]
    return [*options, "--ro-bind", str(prefix), str(prefix)]


def _container(folder: Path, limits: Limits, image: str, arguments: list[str]) -> Command:
    engine = shutil.which("podman") or shutil.which("docker")
    if engine is None:
        reason = "neither podman nor docker is on PATH"
        raise SandboxMissing(_describe_missing("container", reason))
    name = f"attempt-{uuid.uuid4().hex}"
    size = limits.file_megabytes << 24
    wall = [
        engine, "run", "--rm", "--name", name, "--pull", "never", "--network", "none",
        "--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges",
        "--user", "65534:65534", "--pids-limit", str(_PROCESSES),
        "--memory", f"{limits.megabytes}m", "--tmpfs", f"{_WORK}:size={size},mode=1777",
        "--workdir", _WORK, "--entrypoint", "python3",
    ]  # fmt: skip
    if folder != Path("/"):
        wall += ["--volume", f"{folder}:{_CODE}:ro"]
    own = {key: os.environ[key] for key in _ENGINE_VARIABLES if key in os.environ}
    return Command([*wall, image, *arguments], own, 20.0, "container", (engine, name))


def _describe_missing(isolation: Isolation, reason: str) -> str:
    ways = {
        "bubblewrap": "Install bubblewrap (Linux: apt install bubblewrap)",
        "container": "Install podman or docker and pull the image",
        "none": "",
    }
    others = [other for other in ("bubblewrap", "container") if other != isolation]
    return (
        f"Unread code is not run without a sandbox, and the isolation {isolation!r} cannot be had: "
        f"{reason}. {ways[isolation]}, or choose {others[0]!r}. 'none' runs the code with your own "
        "rights: choose it only for code that you trust, or on a machine that is thrown away."
    )

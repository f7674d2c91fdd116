"""Writes the golden journals of the present format: `python -m tests.golden.make`, in the repository's root, on Linux or macOS.

Done once for each format of the records, when that format is released, and never again for one that was: these files stand for what users
have on their disks. `expected.json` holds the last state of each flow.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import tempfile
import time
from pathlib import Path
from typing import Any

from graphorch import Request, Response, RunFailed
from graphorch.engine.journaling import FORMAT
from graphorch.journal.sqlite import SqliteStore
from tests.golden.flows import FLOWS, TOPIC, Answering, World, to_the_end

FOLDER = Path(__file__).parent / f"format_{FORMAT}"


class Dying(Answering):
    """A model whose second call is the last thing that the process does."""

    async def complete(self, request: Request, on_text: Any = None) -> Response:
        """One answer."""
        if self.calls:
            os.kill(os.getpid(), signal.SIGKILL)
        return await super().complete(request, on_text)


async def write(name: str, path: Path) -> None:
    """One run in a journal of its own, as far as it gets."""
    client = Dying() if name == "crashed" else Answering()
    store = await SqliteStore.open(path, clock=lambda: time.time() - 3_600)  # the lease of the one that dies has run out when it is read
    try:
        await FLOWS[name]().run(TOPIC, run_id=name, durable=store, client=client, resources=World(), tags={"kind": "golden"})
    except RunFailed:
        assert name == "failed"
    finally:
        await store.close()


async def settle(path: Path) -> None:
    """Move what is in the log of a journal into its file."""
    await (await SqliteStore.open(path)).close()


def main() -> None:
    """Write all of them."""
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for name in FLOWS:
            path = Path(folder) / f"{name}.sqlite"
            child = os.fork()
            if child == 0:
                asyncio.run(write(name, path))
                os._exit(0)
            os.waitpid(child, 0)
            asyncio.run(settle(path))
            shutil.copyfile(path, FOLDER / f"{name}.golden")
    states = {name: asyncio.run(to_the_end(make(), name)).model_dump(mode="json") for name, make in FLOWS.items()}
    (FOLDER / "expected.json").write_text(json.dumps(states, indent=1) + "\n")
    print(f"wrote {', '.join(sorted(each.name for each in FOLDER.iterdir()))} in {FOLDER}")


if __name__ == "__main__":
    main()

"""The log is longer than what was written to it, and readers ignore the rest."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

from graphorch.journal.sqlite.store import SqliteStore
from graphorch.journal.sqlite.wal import LogFile
from tests.contracts.store_contract import Bench


def test_log_grows_ahead_of_use(
    tmp_path: Path,
) -> None:
    """The log grows before it is used up, and when it is shorter than it was left."""
    log, file = LogFile(tmp_path / "runs.db"), tmp_path / "runs.db-wal"
    log.lengthen()  # there is none
    assert not file.exists()
    file.write_bytes(b"frames")
    log.lengthen()
    made = file.stat().st_size
    assert file.read_bytes() == b"frames" + bytes(made - 6)
    log.lengthen()
    log.advance(made // 2)
    log.lengthen()
    assert file.stat().st_size == made  # half of it is still ahead
    log.advance(made // 2)
    log.lengthen()
    assert file.stat().st_size == 2 * made - 6
    log.start_over()
    log.advance(made)
    log.lengthen()
    assert file.stat().st_size == 2 * made - 6
    file.write_bytes(b"")  # another process emptied it
    log.lengthen()
    assert file.stat().st_size == made - 6


async def filled(path: Path, count: int, copy_to: Path | None = None) -> list[object]:
    """Append records that wait for the disk, and return what the file holds at the end."""
    bench = Bench(await SqliteStore.open(path))
    lease = await bench.begin(ttl=1e9)
    for last in range(count):
        await bench.add(lease, {"n": last, "text": "x" * 1000}, after=last)
    if copy_to is not None:
        for suffix in ("", "-wal"):
            shutil.copy(f"{path}{suffix}", f"{copy_to}{suffix}")
    bodies = await bench.bodies()
    await bench.store.close()
    return bodies


def test_killed_process_leaves_loadable_log(tmp_path: Path) -> None:
    """A killed process leaves a log with zeros that loads whole."""
    bodies = asyncio.run(filled(tmp_path / "runs.db", 200, copy_to=tmp_path / "copy.db"))
    assert (tmp_path / "copy.db-wal").read_bytes().endswith(bytes(64 * 1024))

    async def read() -> list[object]:
        bench = Bench(await SqliteStore.open(tmp_path / "copy.db"))
        bodies_read = await bench.bodies()
        await bench.store.close()
        return bodies_read

    assert asyncio.run(read()) == bodies
    assert len(bodies) == 200


def test_log_of_zeros_is_empty(tmp_path: Path) -> None:
    """A log of zeros, lengthened but never written, is empty."""
    bodies = asyncio.run(filled(tmp_path / "runs.db", 5))
    (tmp_path / "runs.db-wal").write_bytes(bytes(1024 * 1024))

    async def read() -> list[object]:
        bench = Bench(await SqliteStore.open(tmp_path / "runs.db"))
        bodies_read = await bench.bodies()
        await bench.begin("run-2")
        await bench.store.close()
        return bodies_read

    assert asyncio.run(read()) == bodies


def test_two_stores_lengthen_shared_log(tmp_path: Path) -> None:
    """Two stores that share a log lengthen it in turns."""

    async def main() -> None:
        benches = [Bench(await SqliteStore.open(tmp_path / "runs.db")) for _ in range(2)]
        leases = [
            await bench.begin(f"run-{number}", owner=f"{number}", ttl=1e9)
            for number, bench in enumerate(benches)
        ]

        async def write(number: int) -> None:
            for last in range(150):
                await benches[number].add(leases[number], "x" * 3000, after=last)

        await asyncio.gather(write(0), write(1))
        for number in range(2):
            assert await benches[1 - number].bodies(f"run-{number}") == ["x" * 3000] * 150
        for bench in benches:
            await bench.store.close()

    asyncio.run(main())


def test_emptied_log_grows_again(tmp_path: Path) -> None:
    """An emptied log is lengthened again."""

    async def main() -> None:
        bench = Bench(await SqliteStore.open(tmp_path / "runs.db"))
        lease = await bench.begin(ttl=1e9)
        await bench.add(lease, "a")
        await bench.begin("run-2", ttl=0.001)
        await asyncio.sleep(0.01)
        await bench.store.erase("run-2")
        assert (tmp_path / "runs.db-wal").stat().st_size == 0
        await bench.add(lease, "b", after=1)
        assert (tmp_path / "runs.db-wal").stat().st_size >= 1024 * 1024
        assert await bench.bodies() == ["a", "b"]
        await bench.store.close()

    asyncio.run(main())

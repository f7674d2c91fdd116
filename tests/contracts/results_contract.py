"""What every store of notes keeps, as functions for the tests of one.

A test imports each case of `CASES` and runs it on a bench of its own, with real or virtual time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from graphorch.distributed.node_messages import CANCEL
from graphorch.distributed.results import Note, Results

RUN = "run-1"


@dataclass
class Bench:
    """Notes under test: `connect` makes one more port to them."""

    connect: Callable[[], Awaitable[Results]]
    ports: list[Results] = field(default_factory=list[Results])

    async def open(self) -> Results:
        """Return a port that is closed at the end."""
        port = await self.connect()
        self.ports.append(port)
        return port

    async def close(self) -> None:
        """Close all ports."""
        for port in self.ports:
            await port.close()


class Reader:
    """Keeps the notes that a topic brought, each once, in their order."""

    def __init__(self) -> None:
        self.notes: list[Note] = []
        self._changed = asyncio.Event()

    def __call__(self, note: Note) -> None:
        if note not in self.notes:
            self.notes.append(note)
            self._changed.set()

    @property
    def bodies(self) -> list[bytes]:
        """Bodies of the notes."""
        return [note.body for note in self.notes]

    async def wait_for(self, count: int, seconds: float = 10.0) -> list[bytes]:
        """Return the bodies once there are so many notes."""
        async with asyncio.timeout(seconds):
            while len(self.notes) < count:
                self._changed.clear()
                await self._changed.wait()
        return self.bodies


def note(key: str, body: bytes = b"", topic: str = RUN, run: str = RUN) -> Note:
    return Note(run, topic, key, body)


async def note_reaches_watcher(bench: Bench) -> None:
    """A note that is posted on another machine comes to who watches its topic."""
    here, there, reader = await bench.open(), await bench.open(), Reader()
    await here.watch(RUN, reader)
    assert await there.post(note("a", b"\x00{\n\xff"))
    assert await reader.wait_for(1) == [b"\x00{\n\xff"]


async def note_waits_for_watcher(bench: Bench) -> None:
    """Whoever watches later gets what was posted before, and gets it at once."""
    here, there, reader = await bench.open(), await bench.open(), Reader()
    await there.post(note("a", b"1"))
    await there.post(note("b", b"2", topic="elsewhere"))
    await here.watch(RUN, reader)
    assert reader.bodies == [b"1"]


async def first_note_counts(bench: Bench) -> None:
    """Of two notes with one key the first counts, wherever they were posted."""
    here, there, reader = await bench.open(), await bench.open(), Reader()
    assert await here.post(note("a", b"first"))
    assert not await there.post(note("a", b"second"))
    assert await here.post(note("a", b"first"))
    assert await there.post(note("a", b"other", topic="elsewhere"))
    await here.watch(RUN, reader)
    assert reader.bodies == [b"first"]


async def one_of_many_posts_counts(bench: Bench) -> None:
    """Of notes that are posted at once with one key a single one counts."""
    ports = [await bench.open() for _ in range(3)]
    posts = [port.post(note("a", b"%d" % i)) for i, port in enumerate(ports * 4)]
    counted = await asyncio.gather(*posts)
    reader = Reader()
    await ports[0].watch(RUN, reader)
    (body,) = reader.bodies
    # Of the posts through one port those with the body that counts are equal to it.
    assert [b"%d" % i for i, counts in enumerate(counted) if counts] == [body]


async def many_notes_arrive(bench: Bench) -> None:
    """Each of very many notes arrives, from several machines, in the order of each."""
    here, others, reader = await bench.open(), [await bench.open() for _ in range(2)], Reader()
    await here.watch(RUN, reader)

    async def post(number: int) -> None:
        for index in range(150):
            await others[number].post(note(f"{number}/{index}", b"%d" % index))

    await asyncio.gather(post(0), post(1))
    await reader.wait_for(300)
    for number in range(2):
        keys = [each.key for each in reader.notes if each.key.startswith(f"{number}/")]
        assert keys == [f"{number}/{index}" for index in range(150)]


async def cancellation_survives_its_run(bench: Bench) -> None:
    """A worker that looks late hears that a call was cancelled, although the run is at rest."""
    here, there, reader = await bench.open(), await bench.open(), Reader()
    await here.post(note(CANCEL, topic="job"))
    await here.post(note("answer", topic="job"))
    await here.drop(RUN)
    await there.watch("job", reader)
    assert [each.key for each in reader.notes] == [CANCEL]


async def stored_note_is_known(bench: Bench) -> None:
    """Whether a note is stored is known on all machines, without its body."""
    here, there = await bench.open(), await bench.open()
    await here.post(note("a"))
    asked = [there.has(topic, key) for topic, key in ((RUN, "a"), (RUN, "b"), ("job", "a"))]
    assert await asyncio.gather(*asked) == [True, False, False]
    await here.drop(RUN)
    assert not await there.has(RUN, "a")


async def unwatched_topic_is_quiet(bench: Bench) -> None:
    """Nothing comes for a topic that is not watched any more, or not yet."""
    here, there, reader, other = await bench.open(), await bench.open(), Reader(), Reader()
    await here.watch(RUN, reader)
    await here.watch("other", other)
    here.unwatch(RUN)
    await there.post(note("a"))
    await there.post(note("b", topic="other"))
    await other.wait_for(1)
    assert reader.notes == []
    await here.watch(RUN, reader)
    assert [each.key for each in reader.notes] == ["a"]


async def dropped_notes_are_gone(bench: Bench) -> None:
    """Notes of a run are dropped by their keys, or all of them; those of others stay."""
    port = await bench.open()
    for key in ("a", "b"):
        await port.post(note(key))
    await port.post(note("c", topic="job"))
    await port.post(note("d", run="other", topic="other"))

    async def list_keys() -> list[str]:
        keys: list[str] = []
        for topic in (RUN, "job", "other"):
            reader = Reader()
            await port.watch(topic, reader)
            keys += [each.key for each in reader.notes]
            port.unwatch(topic)
        return keys

    await port.drop(RUN, ["b", "c"])
    assert await list_keys() == ["a", "c", "d"]
    await port.drop(RUN)
    assert await list_keys() == ["d"]


CASES = (
    note_reaches_watcher,
    note_waits_for_watcher,
    first_note_counts,
    one_of_many_posts_counts,
    many_notes_arrive,
    stored_note_is_known,
    cancellation_survives_its_run,
    unwatched_topic_is_quiet,
    dropped_notes_are_gone,
)

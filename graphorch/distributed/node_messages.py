"""Messages between the owner of a run and the worker that runs the function of one of its nodes.

A message is a line of JSON and the lines of slices, as between an engine and a worker process.
Its keys:

- a job is `node/RUN/ACTIVATION/CALL`, where CALL is the attempt, with `h` for its second copy;
- notes to the owner have the run as topic, and the key of the job and a word as key: `…#result`,
  `…#began` of a node with effect once, `…#ask:…` for a model call, `…#emit:…` for an event;
- notes to the worker have the key of the job as topic: `answer:…`, and `cancel`.

Bytes choose no code: a worker finds the node by its place in its own graph, which has the
fingerprint that the job names.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Final, NamedTuple

from graphorch.distributed.node_places import Place
from graphorch.engine.invocation.process_protocol import Unportable

LONGEST: Final = 7_900_000
"""Bytes of the slices of a message; an engine takes 8 MB with the header, which is short."""
RESULT: Final = "result"
BEGAN: Final = "began"
ASK: Final = "ask:"
EMIT: Final = "emit:"
ANSWER: Final = "answer:"
CANCEL: Final = "cancel"


def name_node_kind(flow: str, fingerprint: str, pool: str | None = None) -> str:
    """Return the kind of the jobs that run nodes of a graph, for the workers of a pool."""
    kind = f"node:{flow}@{fingerprint}"
    return kind if pool is None else f"{kind}:{pool}"


class CallKey(NamedTuple):
    """One call of a node's function: an attempt of an activation, or the second copy of it."""

    run: str
    activation: str
    call: str

    @property
    def job(self) -> str:
        """Key of the job, and topic of the notes to its worker."""
        return f"node/{self.run}/{self.activation}/{self.call}"

    @property
    def attempt(self) -> int:
        """Number of the attempt."""
        return int(self.call.rstrip("h"))

    def name_note(self, word: str) -> str:
        """Return the key of a note to the owner."""
        return f"{self.activation}/{self.call}#{word}"


def read_note_key(run: str, key: str) -> tuple[CallKey, str]:
    """Return the call that a note to the owner belongs to, and its word."""
    place, _, word = key.partition("#")
    activation, _, call = place.partition("/")
    return CallKey(run, activation, call), word


@dataclass(frozen=True, slots=True)
class SentContext:
    """What a context of a node knows without asking the owner.

    `deadline` is in seconds since the epoch. `missing` are the branches that brought nothing, and
    `room` says for each loop that may go back from the node whether it has room.
    """

    deadline: float | None = None
    consent: str = ""
    budget: dict[str, float] = field(default_factory=dict[str, float])
    missing: dict[str, str] = field(default_factory=dict[str, str])
    room: list[bool] = field(default_factory=list[bool])
    is_watched: bool = False


@dataclass(frozen=True, slots=True)
class NodeCall:
    """A call of a node's function for a worker: where the node is, and its slices as lines."""

    run: str
    activation: str
    call: str
    flow: str
    fingerprint: str
    path: str
    place: Place
    attempt: int
    timeout: float | None
    context: SentContext
    trace: dict[str, str]
    lines: tuple[bytes, ...] = ()

    @property
    def key(self) -> CallKey:
        """Key of the call."""
        return CallKey(self.run, self.activation, self.call)

    def encode(self) -> bytes:
        """Return the payload of the job."""
        header = {name: getattr(self, name) for name in _FIELDS}
        context = {name: getattr(self.context, name) for name in _CONTEXT_FIELDS}
        return encode_message({**header, "context": context}, self.lines)

    @classmethod
    def decode(cls, payload: bytes) -> NodeCall:
        """Return the call of a job."""
        header, lines = decode_message(payload)
        context = SentContext(**header.pop("context"))
        return cls(**header, context=context, lines=tuple(lines))


_FIELDS: Final = (
    "run",
    "activation",
    "call",
    "flow",
    "fingerprint",
    "path",
    "place",
    "attempt",
    "timeout",
    "trace",
)


_CONTEXT_FIELDS: Final = tuple(each.name for each in fields(SentContext))
_ENCODE: Final = json.JSONEncoder(separators=(",", ":")).encode


def encode_message(header: dict[str, Any], lines: Sequence[bytes] = ()) -> bytes:
    """Return a header and lines as one message."""
    return b"\n".join([_ENCODE(header).encode(), *lines])


def decode_message(body: bytes) -> tuple[dict[str, Any], list[bytes]]:
    """Return the header and the lines of a message."""
    first, *lines = body.split(b"\n")
    return json.loads(first.decode()), lines


def check_size(lines: Sequence[bytes], names: Sequence[str], where: str) -> None:
    """Raise `Unportable` for slices that are too large for a message, with the largest of them."""
    total = sum(map(len, lines))
    if total <= LONGEST:
        return
    size, name = max(zip(map(len, lines), names, strict=True))
    raise Unportable(
        f"{where} is too large to be sent to another worker: {total:,} bytes, of which '{name}' "
        f"takes {size:,}, and {LONGEST:,} are allowed. Put what is large into a file or a bucket "
        "that all workers reach, and its address into the slice."
    )

"""One firing of a node, and the tokens that it consumes and emits.

Ids derive from content and are computed only when somebody asks: activation = H(run, path, node, sorted ids of the consumed tokens),
token = H(activation, index of the edge). They are equal in every schedule, after every crash and on every machine.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from graphorch.graph.plan import Step
from graphorch.graph.topology import Edge
from graphorch.state.version import Version

if TYPE_CHECKING:
    from graphorch.core.firing import Scope

# loop -> how often its body was begun since the loop was entered; a loop that is not named: once
Counters = Mapping[int, int]
NO_COUNTERS: Counters = {}


class Status(IntEnum):
    """Where an activation stands. Everything up to `INSIDE` keeps a driver busy; everything from `DONE` on is over."""

    RUNNING = 0  # an attempt runs, or is about to
    ROUTING = 1  # its result is committed, its tokens are not emitted yet
    RETRYING = 2  # waits for its next attempt
    ENTERED = 3  # a sub-flow or map whose inner work is not finished
    AWAITING_ANSWER = 4  # waits for a person
    FAILED = 5  # failed for good in a run that stopped; resuming tries again
    DONE = 6
    HANDLED = 7  # failed for good, and an error edge carried on
    SKIPPED = 8  # failed in isolation, or could not read what it needs: a dead path
    CANCELLED = 9


class Token:
    """One delivery along an edge. `source` None is START."""

    __slots__ = ("counters", "edge", "failure", "source", "version")

    def __init__(
        self,
        source: Activation | None,
        edge: Edge,
        version: Version | None,
        counters: Counters,
        failure: Any = None,
    ) -> None:
        self.source = source
        self.edge = edge
        self.version = version
        self.counters = counters
        self.failure = failure  # what an error edge carries to its handler


class Activation:
    """One firing of a node in a run. `version` is what it reads, and after its result what it wrote as well."""

    # What most activations never set is kept by the class: making one costs as little as it can, and there are very many.
    attempt = 1
    first_attempt = 1  # since the run was last resumed: retries count from here
    status = Status.RUNNING
    started_at = 0.0
    ended_at = 0.0
    update: dict[int, Any] | None = None
    taken_edges: tuple[Edge, ...] = ()
    children: ChildScopes | None = None
    failure: Any = None
    # why no attempt can succeed: two writes at once, or a quorum that was not met
    fatal_error: Exception | None = None
    question: Any = None
    approved = False  # a person let it pass its gate
    story: list[str] | None = None
    _id = ""
    _tokens: tuple[Token, ...] = ()

    def __init__(
        self,
        scope: Scope,
        step: Step,
        source: Activation | None,
        version: Version | None,
        depth: int,
        counters: Counters,
    ) -> None:
        self.scope = scope
        self.step = step
        # where its only token came from at once; None if that is START, or if it has tokens that waited
        self.source = source
        self.version = version
        self.depth = depth
        self.counters = counters

    @property
    def tokens(self) -> tuple[Token, ...]:
        """What it consumed. A sole token is made when somebody asks: there are very many, and few are looked at."""
        if not self._tokens:
            self._tokens = (Token(self.source, self._edge(), None, self.counters),)
        return self._tokens

    def _edge(self) -> Edge:
        """The edge that its only token came along."""
        edges = self.source.taken_edges if self.source is not None else self.scope.plan.starts
        return next(edge for edge in edges if edge.target == self.step.index)

    def set_tokens(self, tokens: tuple[Token, ...]) -> None:
        """Take the tokens that it was made of."""
        self._tokens = tokens

    @property
    def path(self) -> str:
        """Where in the run this is: `team/research`, `workers[3]/dig`."""
        return self.scope.prefix + self.step.name

    @property
    def id(self) -> str:
        """The activation's id, 32 hexadecimal digits."""
        if not self._id:
            source = self.source
            if source is not None and source._id:  # by far the most common
                self._id = _digest(
                    self.scope.origin, self.step.name, _digest(source._id, str(self._edge().index))
                )
            else:
                _fill_ids(self)
        return self._id

    def set_id(self, id: str) -> None:
        """Take an id from elsewhere: this activation is the copy of another run's."""
        self._id = id

    @property
    def is_over(self) -> bool:
        """Whether nothing more can happen to it."""
        return self.status >= Status.DONE

    def iteration(self, loop: int) -> int:
        """How often the body of a loop was begun, this time included."""
        return self.counters.get(loop, 1)

    def add_to_story(self, line: str) -> None:
        """Add a line to what happened to it, for errors and people."""
        if self.story is None:
            self.story = []
        self.story.append(line)

    def __repr__(self) -> str:
        return f"<activation of {self.path}, {self.status.name.lower()}>"


class ChildScopes:
    """What runs inside a sub-flow or map: one scope per item, started in order as far as the concurrency limit allows."""

    __slots__ = ("failed", "running", "scopes", "started", "succeeded", "unfinished", "updates")

    def __init__(self, updates: list[dict[int, Any]]) -> None:
        self.updates = updates
        self.scopes: list[Scope] = []
        self.started = 0
        self.running = 0
        self.unfinished = len(updates)
        self.failed = False  # one of them failed, and with it the whole
        self.succeeded = 0


def _digest(*parts: str) -> str:
    return hashlib.blake2b(
        "\0".join(parts).encode("utf-8", "surrogatepass"), digest_size=16
    ).hexdigest()


def token_id(token: Token, scope: Scope) -> str:
    """The id of a token; tokens of START take theirs from the run or from the activation that the scope is inside of."""
    if token.source is not None:
        return _digest(token.source.id, str(token.edge.index))
    return _digest(scope.origin, str(token.edge.index))


def _fill_ids(last: Activation) -> None:
    """Ids depend on ids before them; a stack instead of recursion, since a history may be long."""
    pending = [last]
    while pending:
        activation = pending[-1]
        missing = [
            token.source
            for token in activation.tokens
            if token.source is not None and not token.source._id  # pyright: ignore[reportPrivateUsage]
        ]
        if missing:
            pending.extend(missing)
            continue
        pending.pop()
        if not activation._id:  # pyright: ignore[reportPrivateUsage]
            consumed = sorted(token_id(token, activation.scope) for token in activation.tokens)
            activation._id = _digest(activation.scope.origin, activation.step.name, *consumed)  # pyright: ignore[reportPrivateUsage]

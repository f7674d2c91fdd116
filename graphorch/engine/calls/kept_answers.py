"""Answers of models that are kept until their activation commits, so that none is paid for twice.

Rules of this file:
- an attempt that a `resume` starts is served the answers that the attempts before it got, whatever
  they failed of: a node after its answer, a cancellation, a crash;
- a retry within the run asks anew: what is kept is forgotten when the retry begins, except for
  answers that led to calls of tools, which are made and stay;
- an answer is served for the request that it answered. With another prompt or another model, the
  model is asked;
- the key of a request in a journal belongs to the format of the run. Before format 5 it leaves out
  which tools the model called, so that rounds that differ in their calls alone have one key. Of a
  request without calls in it, the key is the same in all formats.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from graphorch.core.tree import Activation

if TYPE_CHECKING:
    from graphorch.models.messages import Request, Response

_FULL_KEYS: Final = 5  # the first format whose keys depend on the calls of tools


class KeptAnswer(NamedTuple):
    """A response, and the request that it answers: itself, or the key that a journal holds."""

    asked: Request | str
    response: Response


KeptAnswers: TypeAlias = dict[Activation, list[KeptAnswer]]
"""Answers of activations that have not committed yet, in the order in which they came."""


class AttemptCalls:
    """The model calls of one attempt, and the answers of the attempts before it.

    The n-th time that the attempt makes a request, it gets the n-th answer that is kept for an
    equal request. Equal requests may run concurrently, in another order each time. `format` is that
    of the run's records, in which the keys of new answers are written; None without records.
    """

    __slots__ = ("_earlier", "_format", "_kept", "asked", "served")

    def __init__(self, kept: list[KeptAnswer], format: int | None = None) -> None:
        self._kept = kept
        self._format = format
        self._earlier: dict[str, deque[Response]] = {}
        self._fill(kept)
        self.served = 0
        self.asked = 0

    def _fill(self, answers: Iterable[KeptAnswer]) -> None:
        for answer in answers:
            asked = answer.asked
            key = asked if isinstance(asked, str) else compute_key(asked)
            self._earlier.setdefault(key, deque()).append(answer.response)

    def serve_rounds_again(self) -> None:
        """Let the answers that led to calls of tools be served once more, and no others."""
        self._earlier = {}
        self._fill(_list_rounds(self._kept))

    @property
    def may_serve(self) -> bool:
        """Return whether answers of earlier attempts are left."""
        return bool(self._earlier)

    def compute_key(self, request: Request) -> str:
        """Return the key of a request in the format of the journal."""
        return compute_key(request, self._format)

    def serve(self, request: Request, key: str) -> Response | None:
        """Return the next answer that is kept for a request; None if there is none.

        A fork of a run of an older format holds keys of both.
        """
        waiting = self._earlier.get(key)
        if not waiting:
            other = _FULL_KEYS - 1 if _has_full_keys(self._format) else _FULL_KEYS
            waiting = self._earlier.get(compute_key(request, other))
        if not waiting:
            return None
        self.served += 1
        return waiting.popleft()

    def keep(self, asked: Request | str, response: Response) -> None:
        """Keep an answer that a model gave just now."""
        self._kept.append(KeptAnswer(asked, response))


def _has_full_keys(format: int | None) -> bool:
    return format is None or format >= _FULL_KEYS


def compute_key(request: Request, format: int | None = None) -> str:
    """Return what identifies a request within its activation: a hash of all that is asked.

    `format` is that of the records which hold it, None for the present one.
    """
    schema = request.schema.model_json_schema() if request.schema is not None else None
    messages = [(message.role, message.content) for message in request.messages]
    content = repr(
        (request.model, messages, schema, request.max_tokens, request.temperature, request.tools)
    )
    if _has_full_keys(format):
        if request.tool_choice != "auto":
            content += request.tool_choice
        if len(messages) > 1:
            content += _write_calls(request)
    digest = hashlib.blake2b(content.encode("utf-8", "surrogatepass"), digest_size=16)
    return digest.hexdigest()


def _write_calls(request: Request) -> str:
    """Return the calls of tools in a conversation, and which of them each answer belongs to."""
    calls = [
        (
            place,
            message.tool_call_id,
            [(call.id, call.name, call.arguments) for call in message.tool_calls],
        )
        for place, message in enumerate(request.messages)
        if message.tool_calls or message.tool_call_id
    ]
    return repr(calls) if calls else ""


def forget_answers(kept: KeptAnswers, activation: Activation) -> None:
    """Forget the answers of an activation that is tried again in its run, and of those inside."""
    for holder in list(kept):
        outer: Activation | None = holder
        while outer is not None and outer is not activation:
            outer = outer.scope.parent
        if outer is activation:
            rounds = _list_rounds(kept[holder]) if holder is activation else []
            if rounds:
                kept[holder] = rounds
            else:
                del kept[holder]


def _list_rounds(answers: Iterable[KeptAnswer]) -> list[KeptAnswer]:
    """Return the answers that led to calls of tools."""
    return [answer for answer in answers if answer.response.tool_calls]

"""How much of a prompt repeats the beginning of an earlier one, which a provider may have cached.

Prompts are cut into blocks of about 128 tokens, the unit of OpenAI's cache; each block is known by
a hash of everything up to its end. A block is forgotten after five minutes, as the caches of
OpenAI and Anthropic do at the earliest ("Prompt caching", both 2026-11).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator

from graphorch.models.messages import Request

_BLOCK = 512  # characters
_KEPT = 300.0  # seconds
_MOST = 20_000  # blocks


class PromptPrefixes:
    """Beginnings of the prompts that were sent somewhere. Mutable."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._seen: dict[bytes, float] = {}  # the least recently used first

    def measure(self, request: Request) -> float:
        """Return the part of a prompt, from 0 to 1, that repeats the beginning of another one."""
        oldest = self._clock() - _KEPT
        length = repeated = 0
        is_known = True
        for block, characters in _cut(request):
            length += characters
            is_known = is_known and self._seen.get(block, -1.0) >= oldest
            if is_known:
                repeated += characters
        return repeated / length if length else 0.0

    def remember(self, request: Request) -> None:
        """Keep the beginnings of a prompt that was sent."""
        now = self._clock()
        for block, _ in _cut(request):
            self._seen.pop(block, None)
            self._seen[block] = now
        while len(self._seen) > _MOST:
            del self._seen[next(iter(self._seen))]


def _cut(request: Request) -> Iterator[tuple[bytes, int]]:
    """Yield a hash of everything up to the end of each block, and the characters of the block."""
    text = "".join(f"{message.role}\n{message.content}\n" for message in request.messages)
    tools = "".join(f"{tool.name}{tool.description}{tool.parameters}" for tool in request.tools)
    digest = hashlib.blake2b(digest_size=12)
    digest.update(f"{tools}\n".encode("utf-8", "surrogatepass"))
    for start in range(0, len(text), _BLOCK):
        block = text[start : start + _BLOCK]
        digest.update(block.encode("utf-8", "surrogatepass"))
        yield digest.digest(), len(block)

"""The key of a chain, for journals that others can write to.

The chain of a run finds accidents: lost, moved and damaged records. It does not stop a person who
can write the file, since the hashes can be computed again. With a key they are HMACs (HMAC-SHA256,
RFC 2104), which only those who know the key can make. A run keeps the kind of chain that it was
created with, and the id of its key.

A key does not hide anything, and it does not notice that a whole run was deleted or that an older
copy of a file was put back.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from graphorch.journal.errors import InvalidName

VARIABLE = "GRAPHORCH_JOURNAL_KEY"
_ID_BYTES = 8


@dataclass(frozen=True, slots=True)
class ChainKey:
    """A secret, and the id by which a run names it; the id gives nothing of the secret away."""

    secret: bytes = field(repr=False)
    id: bytes


def build_key(secret: str | bytes) -> ChainKey:
    """Return the key of a secret. Raises `InvalidName` if it is empty or only white space."""
    data = os.fsencode(secret)
    if not data.strip():
        raise InvalidName(
            f"The key of a journal is empty. Give ${VARIABLE} a long random text (for example of "
            "`openssl rand -hex 32`), or do not set it."
        )
    return ChainKey(data, hmac.digest(data, b"graphorch key id", "sha256")[:_ID_BYTES])


def read_key(environ: Mapping[str, str] | None = None) -> ChainKey | None:
    """Return the key that the environment holds, or None. Raises `InvalidName` if it is empty."""
    secret = (os.environ if environ is None else environ).get(VARIABLE)
    return None if secret is None else build_key(secret)

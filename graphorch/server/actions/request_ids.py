"""Ids of runs that requests begin: from a key, so that a repeated request begins nothing anew.

Two servers over one journal derive the same id from the same key, and the journal creates a run
once. What was asked for is a digest in the tags of the run.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from graphorch.journal.errors import RunNotFound
from graphorch.journal.records import RunHead
from graphorch.server.context import ServerContext
from graphorch.server.problems import Problem

HEADER: Final = "idempotency-key"
DESCRIBED_HEADER: Final[Mapping[str, str]] = {
    "Idempotency-Key": "A text of your own, such as a UUID: the same request with the same key "
    "begins one run."
}
"""The header as the document of the API describes it."""

REQUEST_TAG: Final = "request"
"""Tag of a run that a request with a key began: the digest of the request."""

_LONGEST_KEY: Final = 200


@dataclass(frozen=True, slots=True)
class RequestId:
    """The id of the run that a request begins, and the digest of the request.

    Without a key the id is a new one, and the digest is empty.
    """

    run_id: str
    digest: str = ""

    @property
    def tags(self) -> dict[str, str]:
        """Tags of the run by which the request is known again."""
        return {REQUEST_TAG: self.digest} if self.digest else {}


def identify(headers: Mapping[str, str], request: list[Any]) -> RequestId:
    """Return the id of the run that a request begins; `request` is all that it asks for.

    Raises `Problem` for a key that is none.
    """
    key = headers.get(HEADER)
    if key is None:
        return RequestId(uuid.uuid4().hex)
    if not 0 < len(key) <= _LONGEST_KEY or not key.isprintable():
        raise Problem(
            400,
            "idempotency-key",
            f"An Idempotency-Key has 1 to {_LONGEST_KEY} visible characters, such as a UUID.",
        )
    name = hashlib.sha256(f"graphorch idempotency key\0{key}".encode()).hexdigest()
    asked = hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()
    return RequestId(name[:32], asked[:32])


async def find_begun(context: ServerContext, request: RequestId) -> RunHead | None:
    """Return the run that a request has begun already; None if there is none, or only its name.

    Raises `Problem` if its key was used for another request.
    """
    if not request.digest:
        return None
    try:
        head = await context.store.read_head(request.run_id)
    except RunNotFound:
        return None
    if head.tags.get(REQUEST_TAG) != request.digest:
        raise Problem(
            422,
            "idempotency-key",
            "This Idempotency-Key was used for another request: nothing was begun. Use a new key "
            "for each request, and the same one only to repeat it.",
            extra={"run_id": request.run_id},
        )
    return head if head.last_seq or head.is_erased else None

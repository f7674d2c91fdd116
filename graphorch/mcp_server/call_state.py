"""What a client carries from one leg of a call to the next: which run it is, and what was asked.

The client must not be trusted with it, so the server seals it: encrypted and authenticated with a
key, and bound to the tool, the arguments and a time. The key lies beside the journal, so that a
server that was started again knows the calls of the one before.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.request_state import RequestStateBoundary, RequestStateSecurity
from mcp.shared.exceptions import MCPError

from graphorch.errors import InputError
from graphorch.journal.address import JournalAddress
from graphorch.mcp_server.schemas import build_schema
from graphorch.private_files import OWNER_ONLY, UnusableFile, make_user_folder
from graphorch.runs.result import Question

STATE_DAYS: Final = 30  # how long a client may take for its next leg
_KEY_BYTES: Final = 32
_REJECTED: Final = {"reason": "invalid_request_state"}  # data of the error of a refused state


@dataclass(frozen=True, slots=True)
class CallState:
    """The run of a call, and the questions that its last leg asked, by the keys of their forms.

    Each is the id of the question and a digest of it. `notes` are for the next leg that can show
    them.
    """

    run_id: str
    asked: Mapping[str, tuple[str, str]]
    notes: tuple[str, ...] = ()

    def dump(self) -> str:
        """Return the state as text, to be sealed."""
        return json.dumps({"run": self.run_id, "asked": dict(self.asked), "notes": self.notes})


def load_state(text: str) -> CallState:
    """Return the state of a text that this server wrote, and a boundary unsealed."""
    state = json.loads(text)
    asked = {key: (question, digest) for key, (question, digest) in state["asked"].items()}
    return CallState(state["run"], asked, tuple(state["notes"]))


def digest_question(question: Question) -> str:
    """Return a digest of all that a person saw of a question: an answer is to exactly that."""
    schema = build_schema(question.answer_type, "validation")
    seen = json.dumps([question.id, question.text, schema], sort_keys=True)
    return hashlib.sha256(seen.encode()).hexdigest()[:16]


class StateBoundary(RequestStateBoundary):
    """Seals the state of outgoing legs, and opens that of incoming ones, or says what to do."""

    def __init__(self, key: bytes, server: str) -> None:
        security = RequestStateSecurity(keys=[key], ttl=STATE_DAYS * 24 * 3600.0)
        super().__init__(security, default_audience=server)

    async def __call__(
        self, ctx: ServerRequestContext[Any, Any], call_next: CallNext
    ) -> HandlerResult:
        """Handle a request. Raises `MCPError` with what to do if its state is refused."""
        try:
            return await super().__call__(ctx, call_next)
        except MCPError as error:
            if error.error.data != _REJECTED:
                raise
            # One text for every reason: which check failed would help to forge a state.
            message = (
                "The requestState is not one that this server gave for this call: it was changed, "
                f"is older than {STATE_DAYS} days, or belongs to another tool, other arguments or "
                "another journal. Nothing was run. Repeat the call as it was, or call the tool "
                "without requestState to begin a new run; `graphorch runs` lists those there are."
            )
            raise MCPError(error.error.code, message, _REJECTED) from None


# ---- the key -------------------------------------------------------------------------------------
def read_key(journal: JournalAddress) -> bytes:
    """Return the key that lies beside a journal; the first server makes it.

    Of a database it is in the user's own folder. Raises `InputError` for a file that holds no key,
    or that cannot be read or made.
    """
    path = _locate_key(journal)
    try:
        if not path.exists():
            _make_key(path)
        text = path.read_text("ascii")
        key = bytes.fromhex(text.strip())
    except OSError as error:
        raise InputError(f"The key of the server cannot be kept in '{path}': {error}.") from None
    except ValueError:
        key = b""
    if len(key) != _KEY_BYTES:
        raise InputError(
            f"'{path}' holds no key, which is {2 * _KEY_BYTES} hexadecimal digits. Delete it for a "
            "new one: calls that wait for an answer then have to be begun again, and their runs "
            "are answered with `graphorch answer`."
        )
    return key


def _locate_key(journal: JournalAddress) -> Path:
    if not journal.is_database:
        return Path(f"{journal.text}.mcp-key")
    try:
        folder = make_user_folder("state")
    except UnusableFile as error:
        raise InputError(str(error)) from None
    return folder / f"{hashlib.sha256(journal.shown.encode()).hexdigest()}.mcp-key"


def _make_key(path: Path) -> None:
    """Make the key, whole and for its owner only, unless another server is faster."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(_KEY_BYTES))
        os.chmod(name, OWNER_ONLY)
        with suppress(FileExistsError):
            os.link(name, path)
    finally:
        os.unlink(name)

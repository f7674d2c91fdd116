"""Turns what the openai package raises into a `ModelError` that says what happened, at which endpoint, and how to fix it.

Rules of this file: a message names the host of the endpoint and nothing else of its URL; text of the endpoint is quoted, cut and cleaned
of control characters; the key is removed from all of it. The original exception is not kept as a cause, because it holds the request with
its key and the endpoint's own words, which may repeat it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from pydantic import SecretStr

from graphorch.errors import InputError, ModelError
from graphorch.models.errors import SchemaRefused, TimedOut, Unreachable, Unreadable

if TYPE_CHECKING:
    from openai import APIError, APIStatusError


# characters of what an endpoint says that are looked at, before they are cleaned and cut
_READ = 4_000


class Overlong(Exception):
    """An answer that is longer than allowed, or of a length that cannot be known. The message goes on after "it answered, but"."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where models are asked and the key for it: the two belong together and never travel apart.

    Raises `InputError` for an address that is no base URL, or for a key that cannot be one. An empty key is none: some need no key.
    """

    base_url: str
    key: SecretStr

    def __post_init__(self) -> None:
        problem = _no_base_url(self.base_url)
        if problem:
            raise InputError(
                f"The base URL of a model endpoint {problem}. Give it like http://127.0.0.1:8000/v1, without a key in it."
            )
        secret = self.key.get_secret_value()
        if not (
            secret.isascii()
            and all(character.isprintable() and character != " " for character in secret)
        ):
            raise InputError(
                f"The key for {self.host} holds a space, a line break or a character that is not ASCII, as happens when a key is copied. "
                "Set it again, without quotes and line ends."
            )

    @property
    def host(self) -> str:
        """Host and port: the only part of the address that is shown."""
        parts = urlsplit(self.base_url)
        return f"{parts.hostname}:{parts.port}" if parts.port else f"{parts.hostname}"

    def clean(self, text: str) -> str:
        """Text of the endpoint, fit for a message: one line, no control characters, no key, at most 300 characters."""
        secret = self.key.get_secret_value()
        shown = (text.replace(secret, "[key]") if secret else text)[:_READ]
        shown = " ".join(
            re.sub(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]", " ", shown).split()
        )
        return shown if len(shown) <= 300 else shown[:299] + "…"


def _no_base_url(url: str) -> str:
    """Why a text is no base URL, without repeating it (it may hold a secret), or ""."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "cannot be read"
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        return "does not begin with http:// or https:// and the name of a host"
    if parts.username is not None or parts.query or parts.fragment:
        return "holds more than a host and a path"
    return ""


# status: (what it means, how to fix it, whether asking again may help)
_MEANINGS: Mapping[int, tuple[str, str, bool]] = {
    400: (
        "the request was refused",
        "See what the endpoint says; a prompt that is too long for the model is a common cause.",
        False,
    ),
    401: (
        "the key was refused",
        "Check the key (OPENAI_API_KEY, or what the configuration names): it must be a valid key of this very endpoint.",
        False,
    ),
    402: ("there is no credit left", "Top up the account, or use another model.", False),
    403: (
        "the key may not use this model",
        "Allow the model for this key at the provider, or use another model.",
        False,
    ),
    404: (
        "there is no such model or path",
        "Check the model's name, and that the base URL is complete (most end in /v1).",
        False,
    ),
    408: ("it gave up waiting", "Ask again; if it stays, shorten the prompt.", True),
    409: ("it was in conflict with another request", "Ask again.", True),
    412: (
        "a spending limit is reached",
        "Raise the limit at the provider, or wait for its next period.",
        False,
    ),
    413: (
        "the prompt is too long",
        "Shorten the prompt, or use a model with a larger context.",
        False,
    ),
    422: (
        "the request was refused",
        "See what the endpoint says about the field that it does not take.",
        False,
    ),
    424: ("the provider behind it gave no usable answer", "Ask again, or use another model.", True),
    425: ("it was not ready", "Ask again.", True),
    429: (
        "too many requests",
        "Wait, lower the concurrency, or ask the provider for a higher limit.",
        True,
    ),
    501: (
        "it does not offer this",
        "Check that the base URL is that of an OpenAI-compatible endpoint.",
        False,
    ),
    503: ("it is not available", "Ask again later, or use another model.", True),
    529: ("it is overloaded", "Ask again later, or use another model.", True),
}

# What some say with 400 though it has a status of its own: OpenRouter and LiteLLM of a model that they do not know, and a LiteLLM that has
# no database of keys of every key but its master key.
_DISGUISED = (
    (re.compile(r"not a valid model id|invalid model name", re.IGNORECASE), 404),
    (re.compile(r"no connected db", re.IGNORECASE), 401),
)


def correct_status(status: int, said: str) -> int:
    """The status that says what an endpoint means: that of its answer, unless its words tell that another one would have been right."""
    return (
        next((meant for words, meant in _DISGUISED if words.search(said)), status)
        if status == 400
        else status
    )


def _meaning(status: int) -> tuple[str, str, bool]:
    if status in _MEANINGS:
        return _MEANINGS[status]
    if status >= 500:
        return (
            "it failed",
            "Ask again later; if it stays, look at the provider's status page.",
            True,
        )
    return "the request was refused", "See what the endpoint says.", False


def explain(error: Exception, endpoint: Endpoint, model: str) -> ModelError:
    """The `ModelError` for an exception that was raised while an answer was fetched and read. Does not raise."""
    import openai

    match error:
        case ModelError():
            return error
        case Overlong():
            return build_unreadable(endpoint, model, str(error))
        case openai.APITimeoutError():
            return build_timeout(endpoint, model, "connect", None)
        case openai.APIConnectionError():
            cause = error.__cause__
            return build_unreachable(
                endpoint,
                model,
                f"{type(cause).__name__}: {cause}" if cause else "the connection broke",
            )
        case openai.APIStatusError():
            return _refused_by_status(error, endpoint, model)
        case openai.APIError():
            return _reported(error, endpoint, model)
        case UnicodeEncodeError():
            message = f"Model '{model}': the prompt holds characters that are no text (lone surrogates). Clean it where it was read."
            return ModelError(message, model=model)
        case ValueError() | RecursionError():
            return build_unreadable(
                endpoint, model, f"what came is broken JSON ({type(error).__name__})"
            )
        case _:
            return build_unreachable(endpoint, model, f"{type(error).__name__}: {error}")


def build_unreachable(endpoint: Endpoint, model: str, why: str) -> Unreachable:
    """Nothing answered."""
    return Unreachable(
        f"Model '{model}': {endpoint.host} could not be reached or broke the connection ({endpoint.clean(why)}). "
        "Check that its address (OPENAI_BASE_URL, or the configuration) is right, that the server runs, and that this machine may connect to it.",
        model=model,
    )


def build_timeout(endpoint: Endpoint, model: str, limit: str, seconds: float | None) -> TimedOut:
    """A limit on time was reached; `seconds` is that limit, if it is known."""
    within = f" within {seconds:g} s" if seconds is not None else " in time"
    missing = {
        "total": "did not finish its answer",
        "first token": "sent nothing of its answer",
        "between tokens": "stopped in the middle of its answer and sent nothing more",
    }.get(limit, "did not respond")
    return TimedOut(
        f"Model '{model}': {endpoint.host} {missing}{within} (limit: {limit}). "
        "Give the call more time, ask for a shorter answer, or use a faster model.",
        model=model,
        limit=limit,
    )


def build_unreadable(endpoint: Endpoint, model: str, what: str, *, partial: str = "") -> Unreadable:
    """What came does not follow the protocol."""
    return Unreadable(
        f"Model '{model}': {endpoint.host} answered, but {endpoint.clean(what)}. "
        "Check that the base URL is that of an OpenAI-compatible chat endpoint (most end in /v1) and not a login page or a proxy.",
        model=model,
        retryable=True,
        partial=partial,
    )


def _refused_by_status(error: APIStatusError, endpoint: Endpoint, model: str) -> ModelError:
    status = error.status_code
    if 300 <= status < 400:
        return _redirected(error, endpoint, model)
    said = _words_of(error.body) or _words_of(error.response.text)
    what, fix, retryable = _meaning(correct_status(status, said))
    if status == 429 and "insufficient_quota" in f"{error.code} {error.type} {said}":
        what, fix, retryable = _MEANINGS[402]
    quoted = f' It says: "{endpoint.clean(said)}".' if said else ""
    message = f"Model '{model}': {endpoint.host} answered {status}: {what}.{quoted} {fix}"
    kind = SchemaRefused if status in (400, 422) and _blames_schema(said) else ModelError
    return kind(
        message,
        model=model,
        retryable=retryable,
        status=status,
        retry_after=parse_retry_after(error.response.headers),
    )


def _redirected(error: APIStatusError, endpoint: Endpoint, model: str) -> ModelError:
    target = urlsplit(error.response.headers.get("location", "")).hostname or "itself"
    return ModelError(
        f"Model '{model}': {endpoint.host} answered {error.status_code}, a redirect to {endpoint.clean(target)}. It was not followed, "
        "because the prompt and the key would go to a place that you did not choose. If you trust it, make it the address of the endpoint.",
        model=model,
        status=error.status_code,
    )


def _reported(error: APIError, endpoint: Endpoint, model: str) -> ModelError:
    """An error in the body of an answer that began well: the usual way to fail in the middle of a stream."""
    return build_reported_error(
        error.body if error.body is not None else error.message, endpoint, model
    )


def build_reported_error(body: Any, endpoint: Endpoint, model: str) -> ModelError:
    """The error for an `error` object inside an answer with status 200. It is worth asking again unless its code says otherwise."""
    code = cast("Mapping[str, object]", body).get("code") if isinstance(body, Mapping) else None
    status = (
        int(code) if isinstance(code, int | str) and re.fullmatch(r"[45]\d\d", str(code)) else None
    )
    _, fix, retryable = (
        _meaning(status) if status else ("", "Ask again later, or use another model.", True)
    )
    said = endpoint.clean(_words_of(body)) or "nothing more"
    return ModelError(
        f"Model '{model}': {endpoint.host} reported an error inside its answer: \"{said}\". {fix}",
        model=model, retryable=retryable, status=status,
    )  # fmt: skip


def _words_of(body: Any, depth: int = 4) -> str:
    """What an error body says, in the shapes that are in use: `{"error": {"message": …}}`, `{"message"|"detail": …}`, plain text."""
    if isinstance(body, Mapping):
        fields = cast("Mapping[str, object]", body)
        for name in ("error", "message", "detail"):
            if depth and fields.get(name):
                return _words_of(fields[name], depth - 1)
        return ""
    return body if isinstance(body, str) else "" if body is None else str(body)


def _blames_schema(said: str) -> bool:
    return (
        not said
        or re.search(
            r"response_format|json_schema|json schema|structured|guided|schema", said, re.IGNORECASE
        )
        is not None
    )


# Headers that ask for a pause, with their unit in seconds. The last one is LiteLLM's: it hands the provider's on under that name only.
_PAUSES = (
    ("retry-after-ms", 0.001),
    ("x-ms-retry-after-ms", 0.001),
    ("retry-after", 1.0),
    ("llm_provider-retry-after", 1.0),
)


def parse_retry_after(headers: Mapping[str, Any]) -> float | None:
    """Seconds to wait that an answer asks for (RFC 9110 section 10.2.3: a number or a date; and the common milliseconds), or None.

    A date is read against the `Date` of the same answer, so that no clock of this machine is involved.
    """
    for name, unit in _PAUSES:
        value = str(headers.get(name, "")).strip()
        if re.fullmatch(r"\d{1,9}(\.\d*)?", value):
            return float(value) * unit
    try:
        wait = parsedate_to_datetime(str(headers["retry-after"])) - parsedate_to_datetime(
            str(headers["date"])
        )
    except (KeyError, ValueError, TypeError):
        return None
    return max(0.0, wait.total_seconds())

"""Turn what the openai package raises into a `ModelError`: what happened, where, how to fix it.

Rules of this file:
- a message names the host of the endpoint and nothing else of its URL;
- text of the endpoint is quoted, cut, and cleaned of control characters;
- the key is removed from all of it, in every common encoding (`key_mask.py`);
- the original exception is not kept as a cause, because it holds the request with its key and the
  endpoint's own words, which may repeat the key.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from pydantic import SecretStr

from graphorch.errors import InputError, ModelError
from graphorch.models.errors import (
    ContextOverflow,
    Refused,
    SchemaRefused,
    TimedOut,
    Unreachable,
    Unreadable,
)
from graphorch.models.openai.addresses import NO_KEY, find_plaintext_problem, find_url_problem
from graphorch.models.openai.error_bodies import extract_text, read_codes
from graphorch.models.openai.error_codes import find_kind, find_prompt_fault, find_status
from graphorch.models.openai.key_mask import KeyMask
from graphorch.text import truncate

if TYPE_CHECKING:
    from openai import APIStatusError


# Characters of an endpoint's text that are read before it is cleaned, and that are shown at most.
_LONGEST_READ = 4_000
_LONGEST_SHOWN = 300

# Control characters, marks that turn the direction of text, and halves of characters.
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


class Malformed(Exception):
    """An answer is not what the protocol promises, or longer than allowed.

    The message continues the words "it answered, but".
    """


class Reported(Exception):
    """An error that an endpoint reports in the place of an answer; `body` is what it said."""

    def __init__(self, body: object) -> None:
        self.body = body
        super().__init__("the endpoint reported an error")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Address of a model endpoint and its key, which never travel apart.

    An empty key means that the endpoint needs none. Raises `InputError` for an address that is not
    a base URL, for a key that cannot be sent, and for one that would go over plain http to another
    machine.
    """

    base_url: str
    key: SecretStr
    # Hides the key in what the endpoint says.
    mask: KeyMask = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "mask", KeyMask(self.key.get_secret_value()))
        problem = find_url_problem(self.base_url)
        if problem:
            raise InputError(
                f"The base URL of a model endpoint {problem}. "
                "Give it like http://127.0.0.1:8000/v1, without a key in it."
            )
        secret = self.key.get_secret_value()
        problem = find_plaintext_problem(self.base_url, secret)
        if problem:
            raise InputError(
                f"The endpoint at {self.host} {problem}. Give it an https:// address; plain http "
                "with a key is for this machine only (127.0.0.1, localhost). A server that needs "
                f"no key takes the key '{NO_KEY}'."
            )
        if not secret.isascii() or not secret.isprintable() or " " in secret:
            raise InputError(
                f"The key for {self.host} holds a space, a line break or a character that is not "
                "ASCII, as happens when a key is copied. Set it again, without quotes and line "
                "ends."
            )

    @property
    def host(self) -> str:
        """Host and port: the only part of the address that is shown."""
        parts = urlsplit(self.base_url)
        return f"{parts.hostname}:{parts.port}" if parts.port else f"{parts.hostname}"

    @property
    def server(self) -> str:
        """Host and port, also where the address leaves the port out."""
        parts = urlsplit(self.base_url)
        return f"{parts.hostname}:{parts.port or (443 if parts.scheme == 'https' else 80)}"

    def clean(self, text: str) -> str:
        """Return text of the endpoint, fit for a message.

        It is one line without control characters and without the key, at most 300 characters.
        """
        # The key goes first: a cut or a replaced character could hide it from the search.
        text = self.mask.hide(text)
        words = _UNPRINTABLE.sub(" ", text[:_LONGEST_READ]).split()
        return truncate(" ".join(words), _LONGEST_SHOWN)


class _Meaning(NamedTuple):
    """What a status means, how to fix it, and whether asking again may help."""

    what: str
    fix: str
    retryable: bool = False


_MEANINGS: Mapping[int, _Meaning] = {
    400: _Meaning(
        "the request was refused",
        "See what the endpoint says; a prompt that is too long for the model is a common cause.",
    ),
    401: _Meaning(
        "the key was refused",
        "Check the key (OPENAI_API_KEY, or what the configuration names): "
        "it must be a valid key of this very endpoint.",
    ),
    402: _Meaning("there is no credit left", "Top up the account, or use another model."),
    403: _Meaning(
        "the key may not use this model",
        "Allow the model for this key at the provider, or use another model.",
    ),
    404: _Meaning(
        "there is no such model or path",
        "Check the model's name, and that the base URL is complete (most end in /v1).",
    ),
    408: _Meaning("it gave up waiting", "Ask again; if it stays, shorten the prompt.", True),
    409: _Meaning("it was in conflict with another request", "Ask again.", True),
    412: _Meaning(
        "a spending limit is reached",
        "Raise the limit at the provider, or wait for its next period.",
    ),
    422: _Meaning(
        "the request was refused",
        "See what the endpoint says about the field that it does not take.",
    ),
    424: _Meaning(
        "the provider behind it gave no usable answer", "Ask again, or use another model.", True
    ),
    425: _Meaning("it was not ready", "Ask again.", True),
    429: _Meaning(
        "too many requests",
        "Wait, lower the concurrency, or ask the provider for a higher limit.",
        True,
    ),
    501: _Meaning(
        "it does not offer this",
        "Check that the base URL is that of an OpenAI-compatible endpoint.",
    ),
    503: _Meaning("it is not available", "Ask again later, or use another model.", True),
    529: _Meaning("it is overloaded", "Ask again later, or use another model.", True),
}
_OTHER_SERVER_FAILURE = _Meaning(
    "it failed", "Ask again later; if it stays, look at the provider's status page.", True
)
_OTHER_REFUSAL = _Meaning("the request was refused", "See what the endpoint says.")
_REPORTED_WITHOUT_STATUS = _Meaning("", "Ask again later, or use another model.", True)
# Faults of the prompt for this model only, by their kind.
_PROMPT_FAULTS: Mapping[str, _Meaning] = {
    "context_overflow": _Meaning(
        "the prompt is too long for the model",
        "Shorten the prompt, or use a model with a larger context.",
    ),
    "filtered": _Meaning(
        "its filter refused the prompt", "Rephrase the prompt, or use another model."
    ),
}

# Failures that some report with 400 though they have a status of their own: OpenRouter and LiteLLM
# of a model that they do not know, and a LiteLLM without a database of keys of every key but its
# master key.
_DISGUISED = (
    (re.compile(r"not a valid model id|invalid model name", re.IGNORECASE), 404),
    (re.compile(r"no connected db", re.IGNORECASE), 401),
)
_SCHEMA_WORDS = re.compile(
    r"response_format|json_schema|json schema|structured|guided|schema", re.IGNORECASE
)


def correct_status(status: int, text: str) -> int:
    """Return the status that an endpoint means: that of its answer, unless its text says better."""
    if status == 400:
        for words, meant in _DISGUISED:
            if words.search(text):
                return meant
    return status


def _find_meaning(status: int) -> _Meaning:
    other = _OTHER_SERVER_FAILURE if status >= 500 else _OTHER_REFUSAL
    return _MEANINGS.get(status, other)


def explain(error: Exception, endpoint: Endpoint, model: str) -> ModelError:
    """Return the `ModelError` for an exception from fetching and reading an answer.

    Does not raise.
    """
    import openai

    match error:
        case ModelError():
            return error
        case Malformed():
            return build_unreadable(endpoint, model, str(error))
        case Reported():
            return build_reported_error(error.body, endpoint, model)
        case openai.APITimeoutError():
            return build_timeout(endpoint, model, "connect", None)
        case openai.APIConnectionError():
            cause = error.__cause__
            why = f"{type(cause).__name__}: {cause}" if cause else "the connection broke"
            return build_unreachable(endpoint, model, why)
        case openai.APIStatusError():
            return _explain_status(error, endpoint, model)
        case UnicodeEncodeError():
            return ModelError(
                f"Model '{model}': the prompt holds characters that are not text (lone "
                "surrogates). Clean it where it was read.",
                model=model,
            )
        case ValueError() | RecursionError():
            what = f"what came is broken JSON ({type(error).__name__})"
            return build_unreadable(endpoint, model, what)
        case _:
            return build_unreachable(endpoint, model, f"{type(error).__name__}: {error}")


def build_unreachable(endpoint: Endpoint, model: str, why: str) -> Unreachable:
    """Return the error for an endpoint that did not answer."""
    return Unreachable(
        f"Model '{model}': {endpoint.host} could not be reached or broke the connection "
        f"({endpoint.clean(why)}). Check that its address (OPENAI_BASE_URL, or the configuration) "
        "is right, that the server runs, and that this machine may connect to it.",
        model=model,
    )


# What an endpoint failed to do, by the limit that was reached.
_MISSED = {
    "total": "did not finish its answer",
    "first token": "sent nothing of its answer",
    "between tokens": "stopped in the middle of its answer and sent nothing more",
}


def build_timeout(endpoint: Endpoint, model: str, limit: str, seconds: float | None) -> TimedOut:
    """Return the error for a limit on time; `seconds` is that limit, if it is known."""
    within = "in time" if seconds is None else f"within {seconds:g} s"
    missed = _MISSED.get(limit, "did not respond")
    return TimedOut(
        f"Model '{model}': {endpoint.host} {missed} {within} (limit: {limit}). "
        "Give the call more time, ask for a shorter answer, or use a faster model.",
        model=model,
        limit=limit,
    )


def build_unreadable(endpoint: Endpoint, model: str, what: str, *, partial: str = "") -> Unreadable:
    """Return the error for an answer that does not follow the protocol."""
    return Unreadable(
        f"Model '{model}': {endpoint.host} answered, but {endpoint.clean(what)}. Check that the "
        "base URL is that of an OpenAI-compatible chat endpoint (most end in /v1) and not a login "
        "page or a proxy.",
        model=model,
        retryable=True,
        partial=endpoint.mask.hide(partial),
    )


def _explain_status(error: APIStatusError, endpoint: Endpoint, model: str) -> ModelError:
    status = error.status_code
    if 300 <= status < 400:
        return _explain_redirect(error, endpoint, model)
    text = extract_text(error.body) or extract_text(error.response.text)
    codes = read_codes(error.body)
    # a quota that is used up comes as 429, and asking again does not help
    is_out_of_credit = status == 429 and (
        find_kind(codes) == "credit" or "insufficient_quota" in text
    )
    fault = find_prompt_fault(status, codes, text)
    meaning = _find_meaning(402 if is_out_of_credit else correct_status(status, text))
    meaning = _PROMPT_FAULTS.get(fault, meaning)
    quoted = f' It says: "{endpoint.clean(text)}".' if text else ""
    is_schema_refused = status in (400, 422) and _blames_schema(text)
    failure = _build_failure(
        f"Model '{model}': {endpoint.host} answered {status}: {meaning.what}.{quoted} "
        f"{meaning.fix}",
        fault or ("schema" if is_schema_refused else ""),
        model=model,
        retryable=meaning.retryable,
        status=status,
    )
    failure.retry_after = parse_retry_after(error.response.headers)
    failure.codes = codes
    return failure


def _build_failure(
    message: str, fault: str, *, model: str, retryable: bool, status: int | None
) -> ModelError:
    """Return the error of the class that the fault has."""
    if fault == "filtered":
        return Refused(message, model=model, retryable=retryable, status=status)
    kinds = {"context_overflow": ContextOverflow, "schema": SchemaRefused}
    return kinds.get(fault, ModelError)(message, model=model, retryable=retryable, status=status)


def _explain_redirect(error: APIStatusError, endpoint: Endpoint, model: str) -> ModelError:
    target = urlsplit(error.response.headers.get("location", "")).hostname or "itself"
    return ModelError(
        f"Model '{model}': {endpoint.host} answered {error.status_code}, a redirect to "
        f"{endpoint.clean(target)}. It was not followed, because the prompt and the key would go "
        "to a place that you did not choose. If you trust it, make it the address of the endpoint.",
        model=model,
        status=error.status_code,
    )


def build_reported_error(body: Any, endpoint: Endpoint, model: str) -> ModelError:
    """Return the error for an `error` object inside an answer with status 200.

    It is worth asking again unless its code or its words say otherwise.
    """
    codes, words = read_codes(body), extract_text(body)
    status = find_status(codes)
    fault = find_prompt_fault(status, codes, words)
    meaning = _REPORTED_WITHOUT_STATUS if status is None else _find_meaning(status)
    meaning = _PROMPT_FAULTS.get(fault, meaning)
    text = endpoint.clean(words) or "nothing more"
    failure = _build_failure(
        f"Model '{model}': {endpoint.host} reported an error inside its answer: "
        f'"{text}". {meaning.fix}',
        fault or ("schema" if status in (400, 422) and _SCHEMA_WORDS.search(words) else ""),
        model=model,
        retryable=meaning.retryable,
        status=status,
    )
    failure.codes = codes
    return failure


def _blames_schema(text: str) -> bool:
    """Return whether a refusal may be about the schema, which a refusal without words may be."""
    return not text or _SCHEMA_WORDS.search(text) is not None


# Headers that ask for a pause, with their unit in seconds. The last one is LiteLLM's: it hands the
# header of the provider on under that name only.
_PAUSES = (
    ("retry-after-ms", 0.001),
    ("x-ms-retry-after-ms", 0.001),
    ("retry-after", 1.0),
    ("llm_provider-retry-after", 1.0),
)


def parse_retry_after(headers: Mapping[str, Any]) -> float | None:
    """Return the seconds to wait that an answer asks for, or None.

    The header holds a number or a date (RFC 9110 section 10.2.3), or the common milliseconds. A
    date is read against the `Date` of the same answer, so that no clock of this machine is
    involved.
    """
    for name, unit in _PAUSES:
        value = str(headers.get(name, "")).strip()
        if re.fullmatch(r"\d{1,9}(\.\d*)?", value):
            return float(value) * unit
    try:
        until = parsedate_to_datetime(str(headers["retry-after"]))
        answered_at = parsedate_to_datetime(str(headers["date"]))
        wait = until - answered_at
    except (KeyError, ValueError, TypeError):
        return None
    return max(0.0, wait.total_seconds())

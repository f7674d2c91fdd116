"""Read what an endpoint says about its limits in the headers of any answer.

In use are OpenAI's `x-ratelimit-remaining-requests` with durations such as `6m0s` (Azure, Groq,
Together and vLLM gateways follow it), Anthropic's `anthropic-ratelimit-requests-remaining` with
dates, names without a unit (`x-ratelimit-remaining`, `ratelimit-remaining`) with seconds or a time
since the epoch, and `RateLimit: "name";r=50;t=30` of the IETF's draft. LiteLLM hands those of the
provider on with `llm_provider-` before them. What cannot be read says nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from graphorch.models.rate_status import RateStatus

_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001, "us": 1e-6, "µs": 1e-6}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|us|µs|h|m|s))+")
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|us|µs|h|m|s)")
_NUMBER = re.compile(r"\d{1,16}(?:\.\d+)?")
# Numbers from here on are a time since the epoch, in seconds or in milliseconds.
_EPOCH_SECONDS, _EPOCH_MILLISECONDS = 1e9, 1e12
_STRUCTURED = re.compile(r";\s*([rt])=(\d+)")

# Names by unit: what is left, the limit, and when it is back.
_NAMES = {
    "requests": (
        ("x-ratelimit-remaining-requests", "x-ratelimit-limit-requests",
         "x-ratelimit-reset-requests"),
        ("anthropic-ratelimit-requests-remaining", "anthropic-ratelimit-requests-limit",
         "anthropic-ratelimit-requests-reset"),
        ("x-ratelimit-remaining", "x-ratelimit-limit", "x-ratelimit-reset"),
        ("ratelimit-remaining", "ratelimit-limit", "ratelimit-reset"),
    ),
    "tokens": (
        ("x-ratelimit-remaining-tokens", "x-ratelimit-limit-tokens", "x-ratelimit-reset-tokens"),
        ("anthropic-ratelimit-tokens-remaining", "anthropic-ratelimit-tokens-limit",
         "anthropic-ratelimit-tokens-reset"),
    ),
}  # fmt: skip
_PREFIXES = ("", "llm_provider-")


def read_rate_status(headers: Mapping[str, str]) -> RateStatus | None:
    """Return the state of the limits in the headers of an answer, or None if they hold none."""
    now = _read_date(headers)
    requests = _read_limit(headers, "requests", now) or _read_structured(headers)
    tokens = _read_limit(headers, "tokens", now)
    if requests is None and tokens is None:
        return None
    left, limit, reset = requests or (None, None, None)
    tokens_left, tokens_limit, tokens_reset = tokens or (None, None, None)
    return RateStatus(
        requests=left,
        requests_limit=limit,
        requests_reset=reset,
        tokens=tokens_left,
        tokens_limit=tokens_limit,
        tokens_reset=tokens_reset,
    )


_Limit = tuple[float, float | None, float | None]


def _read_limit(headers: Mapping[str, str], unit: str, now: datetime) -> _Limit | None:
    for prefix in _PREFIXES:
        for remaining, limit, reset in _NAMES[unit]:
            left = _read_number(headers.get(prefix + remaining))
            if left is not None:
                most = _read_number(headers.get(prefix + limit))
                return left, most, _read_reset(headers.get(prefix + reset), now)
    return None


def _read_structured(headers: Mapping[str, str]) -> _Limit | None:
    """Read the header of the IETF's draft, which names what is left and for how many seconds."""
    parts = dict(_STRUCTURED.findall(headers.get("ratelimit") or ""))
    if "r" not in parts:
        return None
    return float(parts["r"]), None, float(parts["t"]) if "t" in parts else None


def _read_number(text: str | None) -> float | None:
    text = (text or "").strip().partition(",")[0].partition(";")[0]
    return float(text) if _NUMBER.fullmatch(text) else None


def _read_reset(text: str | None, now: datetime) -> float | None:
    """Return the seconds until a limit is back: a duration, a number, or a date."""
    text = (text or "").strip()
    if _DURATION.fullmatch(text):
        return sum(float(number) * _UNITS[unit] for number, unit in _DURATION_PART.findall(text))
    if _NUMBER.fullmatch(text):
        number = float(text)
        if number >= _EPOCH_MILLISECONDS:
            return max(0.0, number / 1000 - now.timestamp())
        return max(0.0, number - now.timestamp()) if number >= _EPOCH_SECONDS else number
    try:
        until = datetime.fromisoformat(text.replace("Z", "+00:00"))
        return max(0.0, (until - now).total_seconds())
    except (ValueError, TypeError):
        return None


def _read_date(headers: Mapping[str, str]) -> datetime:
    """Return the time of the answer by the endpoint's clock, else by that of this machine."""
    try:
        return parsedate_to_datetime(headers.get("date") or "").astimezone(UTC)
    except (ValueError, TypeError):
        return datetime.now(UTC)

"""What the codes and the words of an endpoint's error mean: a kind of failure.

The kinds are those of the policies (`policies/failure_kinds.py`). Sources: the error references of
OpenAI, Azure OpenAI, Anthropic, Gemini, Bedrock, Mistral, DashScope, Zhipu, MiniMax, Groq, xAI,
llama.cpp and LiteLLM (2026-11).
"""

from __future__ import annotations

import re

# Codes in lower case and without separators, by the kind that they mean. Codes that stand for
# several kinds, such as `invalid_request_error`, are not among them.
_CODES = {
    "context_overflow": """
        contextlengthexceeded contextwindowexceeded contextwindowexceedederror
        modelcontextwindowexceeded exceedcontextsizeerror requesttoolarge stringabovemaxlength
        contexttoolong prompttoolong inputtoolong tokenlimitexceeded maxtokensexceeded 1261 1039
    """,
    "filtered": """
        contentfilter contentfiltered contentfiltererror contentpolicyviolation
        contentpolicyviolationerror responsibleaipolicyviolation moderationblocked moderationerror
        guardrailintervened datainspectionfailed prohibitedcontent safety recitation blocklist spii
        invalidprompt promptblocked sensitivecontent unsafecontent 1301 1026 1027
    """,
    "rate_limit": """
        ratelimitexceeded ratelimiterror toomanyrequests throttlingexception throttling
        resourceexhausted 1302 1305
    """,
    "credit": """
        insufficientquota billinghardlimitreached billingnotactive insufficientbalance
        insufficientcredits arrearage quotaexhausted 1113
    """,
    "auth": """
        invalidapikey authenticationerror unauthenticated permissiondenied permissionerror
        accessdeniedexception unrecognizedclientexception
    """,
    "unknown_model": """
        modelnotfound deploymentnotfound notfounderror modelnotexist unknownmodel 1211
    """,
    "server": """
        servererror internalservererror internalerror internalfailure overloadederror overloaded
        modeloverloaded serviceunavailable serviceunavailableexception unavailable
        modelnotreadyexception modeltimeoutexception modelerrorexception
    """,
}
_BY_CODE = {code: kind for kind, codes in _CODES.items() for code in codes.split()}
# Codes for any request that is wrong in itself.
_WRONG_REQUEST = frozenset(
    {"invalidrequesterror", "invalidparameter", "invalidargument", "badrequesterror"}
    | {"validationexception"}
)
# The status that says the same as a kind.
_STATUSES = {"rate_limit": 429, "credit": 402, "auth": 401, "unknown_model": 404, "server": 500}

# Words for failures that have no status of their own.
_OVERFLOW = re.compile(
    r"context.{0,20}(length|window|limit|size)|maximum (context|prompt|input)"
    r"|(prompt|input|request|message|text)s? (is|are|was) too (long|large)|prompt too long"
    r"|(prompt|input|request) (length |tokens? |size )*(exceeds|is over)"
    r"|input length.{0,40}exceed|(input|prompt) token count.{0,20}exceeds"
    r"|exceeds? (the )?max(imum)? number of (input )?tokens|inputs?`? tokens \+"
    r"|token length too long|range of input length"
    r"|too many (input |prompt )tokens|reduce (the length|your prompt)",
    re.IGNORECASE,
)
_TOO_LARGE = re.compile(r"request too large", re.IGNORECASE)
_FILTER = re.compile(
    r"content.{0,5}(filter|policy|management policy)|moderation|responsible ?ai"
    r"|violat\w+ (our |the )?(usage|content|safety)|usage (guidelines|policies)"
    r"|safety (system|filter|setting)|(inappropriate|prohibited|sensitive) content"
    r"|flagged (as|by|for)|input was flagged|considered high risk|guardrail",
    re.IGNORECASE,
)


def find_kind(codes: frozenset[str]) -> str:
    """Return the kind that codes mean, the first in the order of the table; "" if none does."""
    kinds = {_BY_CODE[code] for code in codes if code in _BY_CODE}
    return next((kind for kind in _CODES if kind in kinds), "")


def find_prompt_fault(status: int | None, codes: frozenset[str], text: str) -> str:
    """Return `context_overflow`, `filtered` or "": what another model might not find wrong.

    Codes go before words, and both before the status: such failures come with 400, and with 403 and
    422; a gateway answers 500 or 502 for a prompt that is too long for the model behind it.
    """
    by_code = find_kind(codes)
    if by_code in ("context_overflow", "filtered"):
        return by_code
    # A request above the limit of a minute is refused however long it waits.
    if status == 413 or (status == 429 and _TOO_LARGE.search(text)):
        return "context_overflow"
    if status in (None, 400, 403, 422, 500, 502) and _OVERFLOW.search(text):
        return "context_overflow"
    if status in (None, 400, 403, 422) and _FILTER.search(text):
        return "filtered"
    return ""


def find_status(codes: frozenset[str]) -> int | None:
    """Return the HTTP status that codes stand for, or None."""
    for code in sorted(codes):
        if re.fullmatch(r"[45]\d\d", code):
            return int(code)
    kind = find_kind(codes)
    if kind:
        return _STATUSES.get(kind, 400)
    return 400 if codes & _WRONG_REQUEST else None

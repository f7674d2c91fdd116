"""Find the error in a body: endpoints spell one in many ways, and some with status 200.

Shapes in use: OpenAI's `{"error": {"message", "code"}}`; vLLM's `{"object": "error", "message"}`;
FastAPI's `{"detail"}`; Baidu's `{"error_code", "error_msg"}`; DashScope's `{"code", "message"}`;
MiniMax' `{"base_resp": {"status_code", "status_msg"}}`; OpenRouter's error in a choice, and the
provider's own words in its `metadata.raw`; Gemini's `{"promptFeedback": {"blockReason"}}`, and its
errors in a list.
"""

from __future__ import annotations

import json
import re
from typing import Any, cast

from graphorch.models.openai.wire import find_field

# Names of a text, the plainest first.
_TEXTS = (
    *("error", "message", "error_message", "error_msg", "errorMessage", "Message"),
    *("status_msg", "msg", "detail", "details", "errors", "faultstring", "fault", "reason"),
)
# Names that mean an error wherever there are no choices.
_ERRORS = ("error_message", "error_msg", "errorMessage", "error_code", "errors", "detail", "fault")
# Names that make an error of a message beside them.
_CODES = ("code", "error_code", "status_code", "statusCode", "error_type")
# Names that do so if they speak of an error.
_TYPES = ("type", "status")
# Names of the events that bring the answer.
USUAL_EVENTS = frozenset({"", "message", "data", "chunk", "delta", "chat.completion.chunk"})
_FINE = frozenset({"0", "200", "ok", "success", "none", "null", "false", ""})
_DEEPEST = 4


def find_error(body: object, *, name: str = "", is_whole: bool = False) -> object:
    """Return the part of a JSON body that reports an error, or None if it reports none.

    `name` is that of the event that brought it. In a whole body, a message is an error.
    """
    if isinstance(body, list):
        items = _list(cast("object", body))
        errors = [find_error(item, name=name, is_whole=is_whole) for item in items]
        return next((error for error in errors if error is not None), None)
    if not isinstance(body, dict):
        return body if _is_error_name(name) else None
    fields = cast("dict[str, Any]", body)
    # 1. Marks that mean an error beside choices too.
    if _is_set(fields.get("error")):
        error = fields["error"]
        return fields if isinstance(error, bool) else error
    if _is_error_name(name) or "error" in (fields.get("object"), fields.get("type")):
        return fields
    for choice in _list(fields.get("choices")):
        if _is_set(find_field(choice, "error")):
            return choice["error"]
    reply = fields.get("base_resp")
    if _is_set(find_field(reply, "status_code")):
        return reply
    # 2. Marks that mean one only without choices, in an event of the usual kind.
    if fields.get("choices") or name not in USUAL_EVENTS:
        return None
    reason = find_field(fields.get("promptFeedback"), "blockReason")
    if reason:
        return {"code": "content_filter", "message": f"the prompt was blocked ({reason})"}
    if any(_is_set(fields.get(mark)) for mark in _ERRORS):
        return fields
    has_message = any(fields.get(mark) for mark in ("message", "msg", "Message"))
    if has_message and (is_whole or _has_error_code(fields)):
        return fields
    return None


def _is_error_name(name: str) -> bool:
    return bool(name) and re.search(r"error|exception|fail", name, re.IGNORECASE) is not None


def _has_error_code(fields: dict[str, Any]) -> bool:
    """Return whether a code or type makes an error of the message beside it."""
    if any(_is_set(fields.get(name)) for name in _CODES):
        return True
    return any(_is_error_name(str(fields.get(name))) for name in _TYPES)


def _is_set(value: object) -> bool:
    """Return whether a mark of an error is more than a placeholder for none."""
    return bool(value) and str(value).lower() not in _FINE


def extract_text(body: object, depth: int = _DEEPEST) -> str:
    """Return the words of an error body; a body of an unknown shape is quoted whole."""
    if body is None or isinstance(body, bool):
        return ""
    if isinstance(body, list):
        items = _list(cast("object", body))[:5] if depth else []
        texts = [extract_text(item, depth - 1) for item in items]
        return "; ".join(text for text in texts if text)
    if not isinstance(body, dict):
        return str(body)
    fields = cast("dict[str, object]", body)
    named = [fields[name] for name in _TEXTS if fields.get(name)]
    text = ""
    if named and depth:
        text = extract_text(named[0], depth - 1)
    elif not named and fields:
        text = _quote(fields)
    raw = find_field(fields.get("metadata"), "raw")
    return f"{text}: {raw}" if isinstance(raw, str) and raw else text


def _quote(fields: dict[str, object]) -> str:
    try:
        return json.dumps(fields, ensure_ascii=False)
    except RecursionError:
        return ""


def read_codes(body: object, depth: int = _DEEPEST) -> frozenset[str]:
    """Return the codes and types in an error body, in lower case without separators."""
    if isinstance(body, list):
        items = _list(cast("object", body))[:5] if depth else []
        return frozenset(code for item in items for code in read_codes(item, depth - 1))
    if not isinstance(body, dict) or not depth:
        return frozenset()
    fields = cast("dict[str, object]", body)
    codes = {
        re.sub(r"[\s_.-]", "", str(fields[name])).lower()
        for name in (*_CODES, *_TYPES)
        if fields.get(name)
    }
    for inner in ("error", "innererror"):
        codes |= read_codes(fields.get(inner), depth - 1)
    return frozenset(codes)


def _list(value: object) -> list[Any]:
    return cast("list[Any]", value) if isinstance(value, list) else []

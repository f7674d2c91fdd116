"""A conversation as HTML: a page of its own, or a fragment for a notebook.

Neither has a script or a link, or loads anything, and every text is escaped.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from graphorch.text import plural
from graphorch.trace.conversation.text import format_headline
from graphorch.trace.conversation.turns import Turn, Utterance
from graphorch.trace.spans.model import Trace

_LONG = 600  # characters; a longer text is folded
_STYLE = (
    ".go-talk{font:14px/1.45 system-ui,sans-serif;color:#0f172a;background:#fff;"
    "padding:12px;max-width:64rem}"
    ".go-talk h2{font-size:15px;margin:0 0 10px}"
    ".go-turn{border-left:3px solid #cbd5e1;margin:6px 0;padding:4px 10px;background:#f8fafc}"
    ".go-turn.calls{border-color:#2563eb}"
    ".go-turn.fails,.go-turn.unanswered{border-color:#b91c1c;background:#fef2f2}"
    ".go-turn.writes{border-color:#0d9488}.go-turn.returns{border-color:#7c3aed}"
    ".go-turn.asks,.go-turn.answers{border-color:#be123c}"
    ".go-who{font-weight:600}.go-facts,.go-role{color:#475569;font-size:12px}"
    ".go-talk pre{white-space:pre-wrap;overflow-wrap:anywhere;margin:4px 0;"
    "font:13px/1.4 ui-monospace,monospace}"
    ".go-mask{color:#b45309;font-size:12px}"
)
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def format_page(trace: Trace, turns: Iterable[Turn]) -> str:
    """Return a whole HTML document."""
    title = escape(f"{trace.flow} · {trace.run_id}")
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        f"<title>{title}</title></head><body>{format_fragment(trace, turns)}</body></html>\n"
    )


def format_fragment(trace: Trace, turns: Iterable[Turn]) -> str:
    """Return the element that a notebook shows."""
    headline = _escape(format_headline(trace))
    body = "".join(_format_turn(turn) for turn in turns)
    return f'<div class="go-talk"><style>{_STYLE}</style><h2>{headline}</h2>{body}</div>'


def _format_turn(turn: Turn) -> str:
    receivers = f" → {', '.join(turn.to)}" if turn.to else ""
    margin = 1.4 * max(0, turn.level - 1)
    parts = [
        f'<div class="go-turn {turn.kind}" style="margin-left:{margin:g}rem">',
        f'<span class="go-who">{_escape(turn.speaker + receivers)}</span> ',
        f'<span class="go-facts">{_escape("; ".join(_list_facts(turn)))}</span>',
    ]
    if turn.shared:
        parts.append(f'<div class="go-role">({plural(turn.shared, "message")} as before)</div>')
    parts += [_format_utterance(utterance) for utterance in turn.prompt]
    parts.append(_block(turn.arguments))
    if turn.prompt or turn.arguments:
        parts.append(f'<div class="go-role">{"result" if turn.arguments else "answer"}</div>')
    parts.append(_block(turn.text))
    parts += [f'<div class="go-mask">masked: {_escape(finding)}</div>' for finding in turn.masked]
    if turn.decision:
        parts.append('<details><summary class="go-facts">why this model</summary>')
        parts.append(f"<pre>{_escape(turn.decision)}</pre></details>")
    parts.append("</div>")
    return "".join(parts)


def _list_facts(turn: Turn) -> list[str]:
    facts = [turn.kind, turn.note]
    if turn.kind == "calls" or turn.is_charged_failure:
        tokens = f"{turn.input_tokens}+{turn.output_tokens} tokens"
        facts += [f"{turn.seconds or 0.0:.3g} s", tokens, turn.price]
    return [fact for fact in facts if fact]


def _format_utterance(utterance: Utterance) -> str:
    lines = [utterance.text, *(f"calls {call}" for call in utterance.calls)]
    text = "\n".join(lines).strip()
    return f'<div class="go-role">{_escape(utterance.role)}</div>{_block(text)}'


def _block(text: str) -> str:
    if not text:
        return ""
    whole = f"<pre>{_escape(text)}</pre>"
    if len(text) <= _LONG:
        return whole
    beginning = f"<code>{_escape(text[:120])}…</code> ({len(text):,} characters)"
    return f"<details><summary>{beginning}</summary>{whole}</details>"


def _escape(text: str) -> str:
    # Half a surrogate pair cannot be encoded: replace it instead of failing.
    return escape(text.encode("utf-8", "replace").decode("utf-8"))

"""A conversation as HTML: a page of its own, or a fragment for a notebook. No script, no link, nothing loaded; every text is escaped."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from graphorch.trace.conversation.text import headline

if TYPE_CHECKING:
    from graphorch.trace.conversation.builder import Conversation, Turn, Utterance

_LONG = 600  # characters; a longer text is folded
_STYLE = (
    ".go-talk{font:14px/1.45 system-ui,sans-serif;color:#0f172a;background:#fff;padding:12px;max-width:64rem}"
    ".go-talk h2{font-size:15px;margin:0 0 10px}"
    ".go-turn{border-left:3px solid #cbd5e1;margin:6px 0;padding:4px 10px;background:#f8fafc}"
    ".go-turn.calls{border-color:#2563eb}.go-turn.fails,.go-turn.unanswered{border-color:#b91c1c;background:#fef2f2}"
    ".go-turn.writes{border-color:#0d9488}.go-turn.asks,.go-turn.answers{border-color:#be123c}"
    ".go-who{font-weight:600}.go-facts,.go-role{color:#475569;font-size:12px}"
    ".go-talk pre{white-space:pre-wrap;overflow-wrap:anywhere;margin:4px 0;font:13px/1.4 ui-monospace,monospace}"
    ".go-mask{color:#b45309;font-size:12px}"
)


def page(conversation: Conversation) -> str:
    """A whole document."""
    title = escape(f"{conversation.trace.flow} · {conversation.trace.run_id}")
    policy = "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
    return f'<!doctype html><html lang="en"><head><meta charset="utf-8">{policy}<title>{title}</title></head><body>{fragment(conversation)}</body></html>\n'


def fragment(conversation: Conversation) -> str:
    """The part that a notebook shows."""
    turns = "".join(_turn(turn) for turn in conversation.turns)
    return f'<div class="go-talk"><style>{_STYLE}</style><h2>{_text(headline(conversation.trace))}</h2>{turns}</div>'


def _turn(turn: Turn) -> str:
    to = f" → {', '.join(turn.to)}" if turn.to else ""
    facts = [turn.kind, turn.note]
    if turn.kind == "calls":
        price = "price unknown" if turn.usd_source == "none" else f"${turn.usd:.6f}"
        facts += [
            f"{turn.seconds or 0.0:.3g} s",
            f"{turn.input_tokens}+{turn.output_tokens} tokens",
            price,
        ]
    shared = f'<div class="go-role">({turn.shared} messages as before)</div>' if turn.shared else ""
    prompt = "".join(_said(said) for said in turn.prompt)
    answer = ('<div class="go-role">answer</div>' if prompt else "") + _block(turn.text)
    masked = "".join(f'<div class="go-mask">masked: {_text(text)}</div>' for text in turn.masked)
    decision = (
        f'<details><summary class="go-facts">why this model</summary><pre>{_text(turn.decision)}</pre></details>'
        if turn.decision
        else ""
    )
    facts_shown = _text("; ".join(fact for fact in facts if fact))
    return (
        f'<div class="go-turn {turn.kind}" style="margin-left:{1.4 * max(0, turn.level - 1):g}rem">'
        f'<span class="go-who">{_text(turn.speaker + to)}</span> <span class="go-facts">{facts_shown}</span>'
        f"{shared}{prompt}{answer}{masked}{decision}</div>"
    )


def _said(said: Utterance) -> str:
    lines = [said.text, *(f"calls {call}" for call in said.calls)]
    return f'<div class="go-role">{_text(said.role)}</div>{_block(chr(10).join(lines).strip())}'


def _block(text: str) -> str:
    if not text:
        return ""
    if len(text) <= _LONG:
        return f"<pre>{_text(text)}</pre>"
    return f"<details><summary><code>{_text(text[:120])}…</code> ({len(text):,} characters)</summary><pre>{_text(text)}</pre></details>"


def _text(text: str) -> str:
    return escape(text.encode("utf-8", "replace").decode("utf-8"))

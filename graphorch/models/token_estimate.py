"""A guess of the tokens of a text by the scripts that it is written in.

The weights lie between two tokenizers of OpenAI, cl100k_base of 2022 and o200k_base of 2024
(measured in 2026-11 on sentences of twenty languages): older ones need up to three times as many
tokens for other scripts than Latin, newer ones hardly more. What a budget relies on is the bound
in `token_count.py`; the guess is for prices, limits per minute, and usage that was not reported.
"""

from __future__ import annotations

import re

# Tokens per character of each class. Four characters a token is the rule of thumb for English.
_ASCII = 0.25
_OTHER = 1.0
_WEIGHTS = [
    (re.compile(f"[{characters}]+"), weight)
    for characters, weight in (
        ("\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff", 1.0),  # CJK
        ("\u1100-\u11ff\u3130-\u318f\uac00-\ud7af", 0.85),  # Hangul
        ("\u0400-\u052f", 0.4),  # Cyrillic
        ("\u0370-\u03ff", 0.5),  # Greek
        ("\u0590-\u07ff\ufb1d-\ufdff\ufe70-\ufeff", 0.5),  # Hebrew, Arabic
        ("\u0900-\u0dff\u0e00-\u0eff", 0.6),  # of India, Thai, Lao
        ("\U0001f000-\U0001faff\u2600-\u27bf", 2.0),  # pictures
    )
]


def estimate_tokens(text: str) -> float:
    """Return a guess of the tokens of a text, not rounded."""
    length = len(text)
    if text.isascii():
        return length * _ASCII
    ascii_length = len(text.encode("ascii", "ignore"))
    left = length - ascii_length
    tokens = ascii_length * _ASCII
    for pattern, weight in _WEIGHTS:
        if not left:
            break
        found = sum(map(len, pattern.findall(text)))
        left -= found
        tokens += found * weight
    return tokens + left * _OTHER

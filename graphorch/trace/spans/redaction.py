"""Rules that take secrets out of everything that a trace shows, writes or sends.

The rules can also be the `Mask` of a `MaskedStore` (`redaction.data`), to keep secrets out of the
journal itself.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from graphorch.models.guardrails.client import secrets
from graphorch.models.guardrails.detector import Detector, Match, merge_matches, replace_matches
from graphorch.state.marks import HIDDEN

_NAMES = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIAL|AUTHORIZATION", re.IGNORECASE)
# A shorter value occurs by chance in ordinary text.
_SHORTEST = 8
# Random strings are not among them: ids are random strings.
_SURE = ("api_key", "private_key", "jwt", "auth_token", "password")


def find_secret_values(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Return the values of variables whose names mark them as secret, the longest first."""
    values: set[str] = set()
    for name, value in environment.items():
        value = value.strip()
        if _NAMES.search(name) and len(value) >= _SHORTEST:
            values.add(value)
    return tuple(sorted(values, key=len, reverse=True))


def _default_detectors() -> tuple[Detector, ...]:
    return (secrets(*_SURE),)


@dataclass(frozen=True, slots=True, kw_only=True)
class Redaction:
    """Rules of what must not leave the journal.

    `checks` find secrets by their form, `values` are known secrets, `fields` are names of JSON
    fields that are hidden whole. `content=False` hides everything that people and models wrote:
    prompts, answers, states, messages of errors.
    """

    checks: Sequence[Detector] = field(default_factory=_default_detectors)
    values: Sequence[str] = field(default_factory=lambda: find_secret_values(os.environ))
    fields: frozenset[str] = frozenset()
    content: bool = True

    def text(self, text: str) -> str:
        """Return a text with every secret replaced by its kind."""
        if not text:
            return text
        if not self.content:
            return HIDDEN
        for value in self.values:
            if value in text:
                text = text.replace(value, HIDDEN)
        matches = [match for detector in self.checks for match in detector.find(text)]
        if not matches:
            return text
        merged = merge_matches(matches, rank_match)
        return replace_matches(text, merged, lambda match: f"[{match.kind}]")

    def json(self, text: str) -> str:
        """Return a text that may be JSON, cleaned: its fields are hidden by name, too."""
        if text[:1] in ("{", "["):
            try:
                value: Any = json.loads(text)
            except (ValueError, RecursionError):
                return self.text(text)
            cleaned = self.data(value)
            return text if cleaned == value else json.dumps(cleaned, ensure_ascii=False)
        return self.text(text)

    def data(self, value: Any) -> Any:
        """Return JSON data with every text in it cleaned; `value` itself is not changed."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, list):
            return [self.data(item) for item in cast("list[Any]", value)]
        if not isinstance(value, dict):
            return value
        cleaned: dict[str, Any] = {}
        for key, item in cast("dict[str, Any]", value).items():
            name = self.text(key) if self.content else key
            cleaned[name] = HIDDEN if key in self.fields else self.data(item)
        return cleaned


def rank_match(match: Match) -> tuple[int, int]:
    """Rank overlapping matches: the surer kind first, then the earlier one."""
    return (_SURE.index(match.kind) if match.kind in _SURE else len(_SURE), match.start)

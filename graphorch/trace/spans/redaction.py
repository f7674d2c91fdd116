"""What must not leave the journal: rules that take secrets out of everything that a trace shows, writes or sends.

A rule set is a `Mask` of `MaskedStore` too (`redaction.data`), so the same rules can keep secrets out of the journal itself.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from graphorch.models.guardrails.client import secrets
from graphorch.models.guardrails.detector import Detector, Match, merge_matches, replace_matches

HIDDEN = "[hidden]"
_NAMES = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIAL|AUTHORIZATION", re.IGNORECASE)
_SHORTEST = 8  # a shorter value would be found by chance in ordinary text
# random strings are left: ids are some
_SURE = ("api_key", "private_key", "jwt", "auth_token", "password")


def secret_values(environment: Mapping[str, str]) -> tuple[str, ...]:
    """The values of variables whose names say that they are secret."""
    found = {
        value.strip()
        for name, value in environment.items()
        if _NAMES.search(name) and len(value.strip()) >= _SHORTEST
    }
    return tuple(sorted(found, key=len, reverse=True))


def _default_checks() -> tuple[Detector, ...]:
    return (secrets(*_SURE),)


@dataclass(frozen=True, slots=True, kw_only=True)
class Redaction:
    """The rules. `checks` find secrets by their form, `values` are known ones, `fields` are names of JSON fields that are hidden whole.

    `content=False` leaves out everything that people and models wrote: prompts, answers, states, messages of errors.
    """

    checks: Sequence[Detector] = field(default_factory=_default_checks)
    values: Sequence[str] = field(default_factory=lambda: secret_values(os.environ))
    fields: frozenset[str] = frozenset()
    content: bool = True

    def text(self, text: str) -> str:
        """The text with every secret replaced by what kind it was."""
        if not text:
            return text
        if not self.content:
            return HIDDEN
        for value in self.values:
            if value in text:
                text = text.replace(value, HIDDEN)
        spans = [span for check in self.checks for span in check.find(text)]
        return (
            replace_matches(text, merge_matches(spans, _rank), lambda span: f"[{span.kind}]")
            if spans
            else text
        )

    def data(self, value: Any) -> Any:
        """JSON data with every text in it cleaned; what it is given stays as it is."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            items = cast("dict[str, Any]", value).items()
            return {
                self.text(key) if self.content else key: HIDDEN
                if key in self.fields
                else self.data(item)
                for key, item in items
            }
        if isinstance(value, list):
            return [self.data(item) for item in cast("Iterable[Any]", value)]
        return value


def _rank(span: Match) -> tuple[int, int]:
    return (_SURE.index(span.kind) if span.kind in _SURE else len(_SURE), span.start)

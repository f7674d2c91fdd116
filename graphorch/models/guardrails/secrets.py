"""Detectors of secrets by kind.

Public parts of credentials (client ids, publishable keys, public keys) and hashes are not secrets.
"""

from __future__ import annotations

from graphorch.models.guardrails.api_keys import API_KEY
from graphorch.models.guardrails.detector import RegexDetector
from graphorch.models.guardrails.passwords import PASSWORD
from graphorch.models.guardrails.private_keys import PRIVATE_KEY
from graphorch.models.guardrails.random_strings import HIGH_ENTROPY
from graphorch.models.guardrails.tokens import AUTH_TOKEN, JWT

SECRETS: dict[str, tuple[RegexDetector, ...]] = {
    "private_key": PRIVATE_KEY,
    "jwt": JWT,
    "api_key": API_KEY,
    "auth_token": AUTH_TOKEN,
    "password": PASSWORD,
    "high_entropy": HIGH_ENTROPY,
}

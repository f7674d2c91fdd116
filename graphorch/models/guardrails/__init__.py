"""Guards that keep personal data and secrets out of requests and answers."""

from __future__ import annotations

"""Pictures of flows and of runs, for `Flow`, `Result`, errors and the command line."""

from __future__ import annotations

"""`graphorch compare`: two flows on the same inputs, side by side."""

from __future__ import annotations

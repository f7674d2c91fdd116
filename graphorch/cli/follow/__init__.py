"""`graphorch follow`: watching a run that another process drives."""

from __future__ import annotations

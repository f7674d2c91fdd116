"""Commands that analyse the runs in a journal: statistics, reasons, conversations, pictures."""

from __future__ import annotations

"""Store in a PostgreSQL database, for processes on any number of machines."""

from __future__ import annotations

"""Display of sessions in a notebook's cells, and as one HTML file to share."""

from __future__ import annotations

"""Flows, results and sessions in a notebook's cells, and a session as one file to share."""

from __future__ import annotations

from graphorch.debugger.notebook.export import to_html as to_html

__all__ = ["to_html"]

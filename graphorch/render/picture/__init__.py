"""The picture of a graph as data, before anything is drawn."""

from __future__ import annotations

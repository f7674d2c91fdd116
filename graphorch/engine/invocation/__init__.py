"""Calling the function of a node: on the event loop, in a thread, or in a process."""

from __future__ import annotations

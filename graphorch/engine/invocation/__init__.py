"""How the function of a node is called: in the event loop, in a thread, or in a process."""

from __future__ import annotations

"""How the operations of a store run beside event loops."""

from __future__ import annotations

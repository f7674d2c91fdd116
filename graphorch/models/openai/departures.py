"""Which call a request on its way out belongs to, so that the transport can note that it left.

The openai package hands nothing of ours on to the transport, which runs in the same context.
"""

from __future__ import annotations

from contextvars import ContextVar

from graphorch.models.budgets.charge import Departure

leaving: ContextVar[Departure | None] = ContextVar("leaving", default=None)

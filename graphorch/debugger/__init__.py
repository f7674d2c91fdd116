"""Stepping through a run: sessions, breakpoints, and their display in a notebook."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphorch._lazy import lazy_names

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from graphorch.debugger.breakpoints import AtNode as AtNode
    from graphorch.debugger.breakpoints import Breakpoint as Breakpoint
    from graphorch.debugger.breakpoints import OnError as OnError
    from graphorch.debugger.breakpoints import OnRoute as OnRoute
    from graphorch.debugger.breakpoints import When as When
    from graphorch.debugger.notebook.export import to_html as to_html
    from graphorch.debugger.prompts import ChangedPrompt as ChangedPrompt
    from graphorch.debugger.session import Session as Session
    from graphorch.debugger.steps import DebugStep as DebugStep

# Where each public name lives.
__getattr__: Callable[[str], Any]
__dir__: Callable[[], list[str]]
__all__, __getattr__, __dir__ = lazy_names(  # pyright: ignore[reportUnsupportedDunderAll]
    __name__,
    {
        "breakpoints": "AtNode Breakpoint OnError OnRoute When",
        "notebook.export": "to_html",
        "prompts": "ChangedPrompt",
        "session": "Session",
        "steps": "DebugStep",
    },
)

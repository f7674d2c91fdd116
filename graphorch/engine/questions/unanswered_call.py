"""Tool calls that were refused because no person decided about them in time."""

from __future__ import annotations

from graphorch.core.tree import Activation, ToolScope


def is_unanswered_call(activation: Activation) -> bool:
    """Return whether an activation is a tool call that was refused because its time was over."""
    if activation.update is None or not isinstance(activation.scope, ToolScope):
        return False
    from graphorch.graph.payloads import UNANSWERED  # only tool calls need it

    # Updates of a run name their fields by number; only `outcome` and `text` are texts.
    texts = [value for value in activation.update.values() if isinstance(value, str)]
    return "refused" in texts and any(text.startswith(UNANSWERED) for text in texts)

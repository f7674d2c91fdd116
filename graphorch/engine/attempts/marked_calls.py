"""Model calls of nodes that got marked values, which `build()` cannot see in their code.

`build()` refuses an agent that reads a secret, and one whose tools act on untrusted values. What a
plain node does with its context is decided here, when it asks a model.
"""

from __future__ import annotations

from collections.abc import Sequence

from graphorch.core.tree import Activation
from graphorch.engine.invocation.secret_values import find_secrets, has_mark
from graphorch.errors import GraphorchError
from graphorch.graph.information_flow.inspected_graph import DeclaredTools, describe_tools
from graphorch.models.messages import Request


class SecretInPrompt(GraphorchError):
    """A prompt that holds a secret of the state, which no model may get."""


class UntrustedArguments(GraphorchError):
    """A tool that acts, offered to a model that reads untrusted values."""


def check_prompt(activation: Activation, request: Request) -> None:
    """Raise `SecretInPrompt` for a prompt that quotes a secret, unless a person let it go on."""
    if _is_let_through(activation) or not has_mark(activation, "secret"):
        return
    texts = [message.content for message in request.messages]
    if any(value in text for value in find_secrets(activation) for text in texts):
        raise SecretInPrompt(
            "Its prompt holds a secret of the state, which no model may get. Leave it out, let a "
            "person decide on the way (graph.ask), or declare a check that writes what may be "
            'shown: @node(declassify="what it checks").'
        )


def check_tools(activation: Activation, tools: Sequence[DeclaredTools]) -> None:
    """Raise `UntrustedArguments` for tools that act on what untrusted values made a model write."""
    untrusted, acting = describe_tools(tools)
    is_untrusted = has_mark(activation, "untrusted") and not _is_let_through(activation)
    if acting and (is_untrusted or untrusted):
        names = ", ".join(f"'{name}'" for name in acting)
        raise UntrustedArguments(
            f"Untrusted values would reach the arguments of {names}, which act. Have a person "
            'approve each call: @tool(approve=True), or declare a tool that only reads as "pure": '
            '@tool(effect="pure").'
        )


def _is_let_through(activation: Activation) -> bool:
    """Return whether a person let a node start, or it is a check itself."""
    options = activation.step.node.options
    return options.gate == "before" or bool(options.declassify)

"""Arguments of a server's tool, held against the JSON schema that the server gives."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from graphorch.agents.mcp.schemas import list_misfits
from graphorch.agents.tool_arguments import WrongArguments
from graphorch.models.tool_arguments import read_object
from graphorch.text import escape_surrogates


@dataclass(frozen=True, slots=True)
class SchemaArguments:
    """Arguments that fit a JSON schema; they run as the model wrote them."""

    schema: Mapping[str, object]

    def read(self, tool: str, written: str) -> dict[str, Any]:
        """Return the arguments that a model wrote. Raises `WrongArguments`."""
        try:
            arguments: Any = json.loads(
                read_object(escape_surrogates(written)), parse_constant=_refuse
            )
            json.dumps(arguments, allow_nan=False, ensure_ascii=False).encode()
        except (ValueError, RecursionError) as error:
            faults = [f"arguments: they are no JSON by the standard ({error})"]
        else:
            faults = ["arguments: they are no object"]
            if isinstance(arguments, dict):
                given = cast("dict[str, Any]", arguments)
                faults = list_misfits(self.schema, given)
                if not faults:
                    return given
        raise WrongArguments(tool, escape_surrogates("; ".join(faults)))

    def bind(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments as they are: the server reads them."""
        return dict(arguments)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")

"""Arguments and output of a node's function as lines, for the other process that runs it.

Both sides know the function's signature, which says how many lines there are and of which types.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from pydantic import BaseModel

from graphorch.engine.invocation.process_protocol import NOTHING, SliceCodec
from graphorch.errors import WrongOutput
from graphorch.graph.signature import Signature
from graphorch.state.slices import Schema, Writer


class CallCodec:
    """Encodes calls of node functions; it keeps what it knows of the types of slices."""

    def __init__(self) -> None:
        self._codecs: dict[type[BaseModel], SliceCodec[Any]] = {}
        self._writers: dict[type[BaseModel], Writer[Any]] = {}

    def encode_arguments(
        self, signature: Signature, slices: Sequence[BaseModel | None]
    ) -> list[bytes]:
        """Return a line for each slice. Raises `Unportable` for a value that JSON would change."""
        return [
            NOTHING if given is None else self._codec(read.model or type(given)).encode(given)
            for read, given in zip(signature.reads, slices, strict=True)
        ]

    def decode_arguments(self, signature: Signature, lines: Sequence[bytes]) -> list[Any]:
        """Return the slices of some lines."""
        return [
            None if line == NOTHING else self._codec(read.model).decode(line)
            for read, line in zip(signature.reads, lines, strict=True)
        ]

    def encode_output(
        self, signature: Signature, output: object, given: Sequence[Any]
    ) -> tuple[list[bytes], int | None]:
        """Return a line for each slice of an output, and which argument it is, if it is one.

        Raises `WrongOutput` for an output that does not fit, and `Unportable`.
        """
        if output is None and (signature.may_skip or not signature.writes):
            return [], None
        slices = self._split_output(output, signature)
        same = None
        if len(slices) == 1:
            positions = (index for index, argument in enumerate(given) if argument is slices[0])
            same = next(positions, None)
        lines = [
            self._codec(model).encode(part)
            for model, part in zip(signature.writes, slices, strict=True)
        ]
        return lines, same

    def decode_output(
        self,
        signature: Signature,
        lines: Sequence[bytes],
        same: int | None,
        given: Sequence[Any],
    ) -> Any:
        """Return what the function returned: an argument itself, if it returned that one."""
        output: list[BaseModel] = [
            self._codec(model).decode(line)
            for model, line in zip(signature.writes, lines, strict=False)
        ]
        if not output:
            return None
        if same is not None:
            # It returned one of its arguments, perhaps changed: so does this side.
            argument = given[same]
            argument.__dict__.update(output[0].__dict__)
            argument.__pydantic_fields_set__.update(output[0].__pydantic_fields_set__)
            return argument
        return output[0] if len(output) == 1 else tuple(output)

    def _codec(self, model: type[BaseModel] | None) -> SliceCodec[Any]:
        assert model is not None
        return self._codecs.get(model) or self._codecs.setdefault(model, SliceCodec(model))

    def _writer(self, model: type[BaseModel]) -> Writer[Any]:
        if model not in self._writers:
            self._writers[model] = Schema(model).writer(model)
        return self._writers[model]

    def _split_output(self, output: object, signature: Signature) -> list[BaseModel]:
        """Return what a node returned, one object per slice that it writes.

        Raises `WrongOutput` as the engine does, which cannot see the object.
        """
        count = len(signature.writes)
        if not count:
            raise WrongOutput(
                f"It returned {type(output).__name__}, but declares that it returns None. "
                "Annotate the slice that it writes."
            )
        pair = cast("tuple[object, ...]", output) if isinstance(output, tuple) else ()
        slices: list[object] = [output] if count == 1 else list(pair)  # pyright: ignore[reportUnknownVariableType]
        if len(slices) != count:
            kind = type(cast("object", output)).__name__
            raise WrongOutput(
                f"It returned {kind}, but declares a tuple of {count} slices. Return them all."
            )
        for model, item in zip(signature.writes, slices, strict=True):
            self._writer(model).update(item)
        return cast("list[BaseModel]", slices)

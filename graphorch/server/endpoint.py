"""An endpoint of the API as data: what it takes, what it returns, and the handler between.

The router, the checks of requests and the OpenAPI document are all made from it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Generic, Literal, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict

Method: TypeAlias = Literal["GET", "POST", "DELETE"]
SVG: Final = "image/svg+xml"
JSON: Final = "application/json"


class RequestModel(BaseModel):
    """Base of the models of bodies and queries: what they do not name is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class NoQuery(RequestModel):
    """The query of an endpoint that has none."""


QueryT = TypeVar("QueryT", bound=RequestModel)
BodyT = TypeVar("BodyT")


@dataclass(frozen=True, slots=True)
class Call(Generic[QueryT, BodyT]):
    """A request that fits its endpoint.

    `names` are the parameters of the path, such as `id`. `body` is None for an endpoint without
    one. `headers` have names in lower case.
    """

    names: Mapping[str, str]
    query: QueryT
    body: BodyT
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Reply:
    """What a handler returns if the status, or a header, depends on what happened."""

    value: Any
    status: int
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class StreamEvent:
    """An event of a stream: its name, its data as a dataclass or plain JSON, and its number.

    A client that lost its connection sends the last `id` that it got, in the header Last-Event-ID.
    """

    data: Any
    event: str = ""
    id: int | None = None


Handler: TypeAlias = Callable[[Call[Any, Any]], Awaitable[Any]]
EventHandler: TypeAlias = Callable[[Call[Any, Any]], Awaitable[AsyncIterator[StreamEvent]]]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A method of a path.

    - `path` has parameters in braces, such as `/api/runs/{id}`. `id` is the id of a run, and is
      checked as such before the handler sees it.
    - `handle` returns a value of `returns`, a dataclass, or a `Reply` with one. What it raises
      becomes a problem. Its docstring is its text in the OpenAPI document.
    - `query` and `body` are models of what it takes; without `body` a request has none, or `{}`.
    - `status` is that of a success, and `refuses` are those of the problems that are its own.
    - `changes` is whether it begins or changes anything: a server that only reads refuses it.
      By default it is whatever is not GET.
    - `media_type` is that of the response; one that is not JSON is a `str`.
    - `headers` are those that it reads, by their names, with what they mean.
    - With `streams` the handler returns an iterator of `StreamEvent`s, which becomes a stream of
      server-sent events; `returns` is then the type of their data.
    """

    method: Method
    path: str
    handle: Handler | EventHandler
    returns: Any
    query: type[RequestModel] = NoQuery
    body: Any = None
    status: int = 200
    refuses: tuple[int, ...] = ()
    changes: bool | None = None
    media_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    streams: bool = False

    @property
    def is_change(self) -> bool:
        """Whether a server that only reads refuses it."""
        return self.method != "GET" if self.changes is None else self.changes

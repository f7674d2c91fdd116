"""A run of a journal as a fixture for tests: the answers of its models, the results of its tools.

    run = await RecordedRun.read("tides", durable="runs.sqlite")
    run.save("tests/tides.json")  # once, to be committed; secrets are taken out

    run = RecordedRun.load("tests/tides.json")
    flow = with_tools(flow, *recorded_tools(run))
    with ScriptedModel(run) as model:
        result = flow.run_sync(Topic.model_validate(run.input), client=model)

Only what the journal holds is read: neither the flow nor its models are needed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self, TypeAlias, cast

from pydantic import TypeAdapter, ValidationError

from graphorch.errors import InputError, JournalError, ModelError
from graphorch.journal.record_kinds import FORMAT
from graphorch.journal.record_reader import read_body
from graphorch.models.messages import Response
from graphorch.runs.stores import open_store, resolve_address
from graphorch.text import KIND, LINEAGE
from graphorch.trace.spans.redaction import Redaction

if TYPE_CHECKING:
    from graphorch.journal.records import RunLog
    from graphorch.runs.stores import Durable

FILE_FORMAT: Final = "graphorch recorded run 1"
_ITSELF: Final = "…"
_CANCELLED: Final = "cancelled"

Body: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class RecordedMessage:
    """One message of a request; `calls` holds name and arguments of each call for a tool."""

    role: str
    content: str
    calls: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class RecordedFailure:
    """Why a call failed: the class of the exception, its bases as far as they are known, its text.

    `kind` is `cancelled` for a call that the flow did not wait for.
    """

    kind: str
    message: str
    kinds: tuple[str, ...] = ()
    model: str = ""
    status: int | None = None

    def build(self) -> Exception:
        """Return the exception, which error edges and retries take for the recorded one."""
        is_of_model = self.kind in _list_model_failures()
        if not is_of_model:
            from graphorch.engine.replay import RecordedError

            return RecordedError(self.kind, self.message, self.kinds or None)
        return _build_model_error(self)


@dataclass(frozen=True, slots=True)
class RecordedExchange:
    """One call of a model: where it was made, what was asked, and the answer or the failure.

    Of very long conversations a journal leaves messages out, which are None here. `tools` are the
    names of those that were offered, `output` the class of the requested output, if any.
    """

    path: str
    messages: tuple[RecordedMessage | None, ...]
    tools: tuple[str, ...] = ()
    output: str | None = None
    response: Response | None = None
    failure: RecordedFailure | None = None

    @property
    def is_cancelled(self) -> bool:
        """Whether the flow did not wait for the answer."""
        return self.failure is not None and self.failure.kind == _CANCELLED


@dataclass(frozen=True, slots=True)
class RecordedToolCall:
    """One time that a tool ran: what it was called with, and what the model read, or the failure.

    `is_error` is whether the text is an exception that the tool declares.
    """

    path: str
    tool: str
    arguments: Body
    text: str = ""
    is_error: bool = False
    failure: RecordedFailure | None = None


@dataclass(frozen=True, slots=True)
class RecordedRun:
    """The input of a run, the calls of its models, and those of its tools, as they ended.

    `nodes` are the paths of the nodes of its graph. A call that was cancelled before it sent
    anything is in no record. `redaction` is what was taken out of the run; requests are compared
    after the same was taken out of them.
    """

    run_id: str
    flow: str
    nodes: tuple[str, ...]
    input: Body
    exchanges: tuple[RecordedExchange, ...]
    tool_calls: tuple[RecordedToolCall, ...] = ()
    redaction: Redaction | None = field(default=None, repr=False, compare=False)

    def has_node(self, path: str) -> bool:
        """Return whether a path is of a node of the graph, at any level of a recursion."""
        path = re.sub(r"\[[\da-f.]+\]", "", path)
        levels = [node.removesuffix(_ITSELF) for node in self.nodes if node.endswith(f"/{_ITSELF}")]
        folded = ""
        while folded != path:
            folded = path
            for level in levels:
                if path.startswith(level):
                    # From `team/deeper/write` to `team/write`, which is the same node.
                    flow = level.removesuffix("/").rpartition("/")[0]
                    path = f"{flow}/".lstrip("/") + path.removeprefix(level)
        return path in self.nodes

    @classmethod
    async def read(cls, run_id: str, *, durable: Durable = True) -> Self:
        """Return a run of a journal, finished or not.

        Raises `InputError` if there is no such journal, and `JournalError` for a run that does not
        exist, was erased, or was written by a newer version.
        """
        _check_journal(durable)
        async with open_store(durable) as store:
            log = await store.load(run_id)
        _check_log(log)
        bodies = [(record.kind, read_body(run_id, record)) for record in log.records]
        begins = [body for kind, body in bodies if kind == "started"]
        if not begins:
            raise InputError(f"Run {run_id} never began: no record holds its input.")
        return cls(
            run_id,
            log.head.flow,
            tuple(_list_nodes(begins[0]["flow"])),
            begins[0]["input"],
            tuple(_read_exchanges(bodies)),
            tuple(_read_tool_calls(bodies)),
        )

    def save(self, path: str | Path, *, redaction: Redaction | None = None) -> None:
        """Write the run to a JSON file for the repository, without secrets.

        `redaction` says what secrets are; the default is that of exports. Give the same to `load`.
        Raises `InputError` for one that hides all content.
        """
        redaction = redaction or Redaction()
        if not redaction.content:
            raise InputError("A run without its content cannot be played. Leave content=False out.")
        cleaned = redaction.data(_encode_run(self))
        text = json.dumps(cleaned, indent=1, ensure_ascii=False)
        Path(path).write_text(f"{text}\n", "utf-8", "backslashreplace")

    @staticmethod
    def load(path: str | Path, *, redaction: Redaction | None = None) -> RecordedRun:
        """Return the run of a file that `save` wrote. Raises `InputError` for any other file."""
        place = Path(path)
        try:
            stored = json.loads(place.read_text("utf-8"))
        except OSError as error:
            raise InputError(f"{place} cannot be read: {error.strerror}.") from None
        except ValueError as error:
            raise InputError(f"{place} is no JSON: {error}.") from None
        return replace(_decode_run(place, stored), redaction=redaction or Redaction())


def _check_journal(durable: Durable) -> None:
    """Raise `InputError` for a path without a file: reading must not make one."""
    if isinstance(durable, bool | str | Path) and (address := resolve_address(durable)).is_missing:
        raise InputError(f"There is no journal {address}. Name that of the run.")


def _check_log(log: RunLog) -> None:
    head = log.head
    if head.format > FORMAT:
        raise JournalError(
            f"Run {head.run_id} was written in format {head.format}, this is format {FORMAT}. "
            "Update graphorch to read it."
        )
    if head.is_erased:
        raise JournalError(
            f"The content of run {head.run_id} was erased; only its hashes are left."
        )


# ---- from records --------------------------------------------------------------------------------
def _list_nodes(flow: Body) -> list[str]:
    """Return the paths of the nodes of a graph as its description in a record names them.

    A flow that is described in a list of flows has paths in the first place where it occurs, and a
    node that runs the flow around it has a path that ends in `/…`.
    """
    flows, seen = flow.get("flows", ()), set[int]()

    def walk(described: Body, prefix: str) -> Iterator[str]:
        for node in described.get("nodes", ()):
            path, inner = f"{prefix}{node['name']}", node.get("inner")
            yield path
            if node.get("itself"):
                yield f"{path}/{_ITSELF}"
            if isinstance(inner, int):
                inner = None if inner in seen else flows[inner]
                seen.add(node["inner"])
            if inner:
                yield from walk(inner, f"{path}/")

    return list(walk(flow, ""))


def _read_exchanges(bodies: Sequence[tuple[str, Body]]) -> list[RecordedExchange]:
    exchanges: list[RecordedExchange] = []
    # Of each activation: its last prompt, of which the next record repeats nothing, and the number
    # of its last failed call, whose exception a following record names with its bases.
    prompts: dict[str, tuple[RecordedMessage | None, ...]] = {}
    failed: dict[str, int] = {}
    for kind, body in bodies:
        if kind == "failed" and body["id"] in failed:
            number = failed.pop(body["id"])
            exchanges[number] = _name_kinds(exchanges[number], body)
        if kind not in ("call", "unanswered"):
            continue
        asked, activation = body["asked"], body["id"]
        messages = prompts.get(activation, ())[: asked["shared"]] + _read_messages(asked)
        prompts[activation] = messages
        exchange = RecordedExchange(body["path"], messages, tuple(asked["tools"]), asked["output"])
        failed.pop(activation, None)
        if kind == "call":
            exchange = replace(exchange, response=_responses().validate_python(body["response"]))
        else:
            failed[activation] = len(exchanges)
            exchange = replace(exchange, failure=_read_failure(body))
        exchanges.append(exchange)
    return exchanges


def _read_messages(asked: Body) -> tuple[RecordedMessage | None, ...]:
    """Return the messages of a record, with None for each that it leaves out in the middle."""
    messages = [_read_message(message) for message in asked["messages"]]
    half = len(messages) // 2 if asked["left_out"] else len(messages)
    return (*messages[:half], *[None] * asked["left_out"], *messages[half:])


def _read_message(message: Body) -> RecordedMessage:
    calls = tuple((call["name"], call["arguments"]) for call in message.get("calls", ()))
    return RecordedMessage(message["role"], message["content"], calls)


def _read_failure(body: Body) -> RecordedFailure:
    return RecordedFailure(
        body["error"], body["message"], model=body["model"], status=body["status"]
    )


def _name_kinds(exchange: RecordedExchange, failed: Body) -> RecordedExchange:
    """Return an exchange with the classes that the failure of its node names."""
    failure = exchange.failure
    if failure is None or failed["message"] != failure.message or "kinds" not in failed:
        return exchange
    kinds = (failed["error"], *failed["kinds"])
    return replace(exchange, failure=replace(failure, kinds=kinds))


def _read_tool_calls(bodies: Sequence[tuple[str, Body]]) -> list[RecordedToolCall]:
    """Return each time that a tool ran.

    A call that a person refused or answered did not run, and neither did one that a flow served,
    whose models are among the exchanges.
    """
    calls: list[RecordedToolCall] = []
    begun: dict[str, RecordedToolCall] = {}
    for kind, body in bodies:
        if kind == "tools":
            for called in body["calls"]:
                path = f"{body['path']}/{body['label']}/{called['tool']}#{called['index']}"
                begun[path] = RecordedToolCall(path, called["tool"], called["arguments"])
        call = begun.get(body.get("path", ""))
        if call is None:
            continue
        if kind == "approved" and "arguments" in body:
            begun[call.path] = replace(call, arguments=body["arguments"])
        elif kind == "entered":
            del begun[call.path]
        elif kind == "failed":
            failure = RecordedFailure(
                body["error"], body["message"], (body["error"], *body.get("kinds", ()))
            )
            calls.append(replace(call, failure=failure))
        elif kind == "commit" and body["update"].get("outcome", "ok") in ("ok", "failed"):
            update = body["update"]
            is_error = update.get("outcome") == "failed"
            calls.append(replace(call, text=update["text"], is_error=is_error))
    return calls


# ---- failures ------------------------------------------------------------------------------------
def _list_model_failures() -> Mapping[str, Any]:
    from graphorch.models.policies.failure_kinds import CONSEQUENCES

    return CONSEQUENCES


def _build_model_error(failure: RecordedFailure) -> ModelError:
    """Return the error of a model, of the class that its kind stands for."""
    from graphorch.models import errors
    from graphorch.models.policies.failure_kinds import InvalidOutput, RejectedAnswer

    name, model = failure.kind, failure.model
    can_retry = _list_model_failures()[name].retry_later
    answers = {
        "malformed": errors.Unreadable,
        "output_limit": errors.Truncated,
        "filtered": errors.Refused,
        "invalid_output": InvalidOutput,
        "rejected": RejectedAnswer,
    }
    error: ModelError
    if name == "timeout":
        error = errors.TimedOut(failure.message, model=model, limit="total")
    elif name == "unreachable":
        error = errors.Unreachable(failure.message, model=model)
    elif name == "context_overflow":
        error = errors.ContextOverflow(failure.message, model=model, status=failure.status)
    elif name in answers:
        error = answers[name](failure.message, model=model, retryable=can_retry)
    else:
        error = ModelError(failure.message, model=model, retryable=can_retry, status=failure.status)
    if failure.kinds:
        setattr(error, KIND, failure.kinds[0])
        setattr(error, LINEAGE, failure.kinds)
    return error


# ---- JSON ----------------------------------------------------------------------------------------
def _encode_run(run: RecordedRun) -> Body:
    return {
        "format": FILE_FORMAT,
        "run": run.run_id,
        "flow": run.flow,
        "nodes": run.nodes,
        "input": run.input,
        "exchanges": _exchanges().dump_python(run.exchanges, mode="json"),
        "tool_calls": _tool_calls().dump_python(run.tool_calls, mode="json"),
    }


def _decode_run(place: Path, stored: Any) -> RecordedRun:
    if not isinstance(stored, dict) or "format" not in stored:
        raise InputError(f"{place} holds no recorded run. RecordedRun.save() writes one.")
    content = cast("Body", stored)
    if content["format"] != FILE_FORMAT:
        raise InputError(
            f"{place} is of the format {content['format']!r:.80}, and this version reads "
            f"{FILE_FORMAT!r}. Write it again with RecordedRun.save()."
        )
    try:
        heads = [content[name] for name in ("run", "flow", "nodes", "input")]
        return RecordedRun(
            *_heads().validate_python(heads),
            _exchanges().validate_json(json.dumps(content["exchanges"])),
            _tool_calls().validate_json(json.dumps(content["tool_calls"])),
        )
    except KeyError as error:
        raise InputError(f"{place} is damaged: it has no {error}.") from None
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(step) for step in fault["loc"])
        raise InputError(f"{place} is damaged: '{where}': {fault['msg']}.") from None


@cache
def _exchanges() -> TypeAdapter[tuple[RecordedExchange, ...]]:
    return TypeAdapter(tuple[RecordedExchange, ...])


@cache
def _tool_calls() -> TypeAdapter[tuple[RecordedToolCall, ...]]:
    return TypeAdapter(tuple[RecordedToolCall, ...])


@cache
def _heads() -> TypeAdapter[tuple[str, str, tuple[str, ...], Body]]:
    return TypeAdapter(tuple[str, str, tuple[str, ...], Body])


@cache
def _responses() -> TypeAdapter[Response]:
    return TypeAdapter(Response)

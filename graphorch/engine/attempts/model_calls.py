"""Model calls of a run: recorded on their way, and labelled with where in the run they belong."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from graphorch.core.run import Run
from graphorch.core.tree import Activation
from graphorch.engine.events import ModelCalled
from graphorch.engine.prompt_log import CallDescription, PromptLog
from graphorch.engine.report import CallReport
from graphorch.errors import ModelError

if TYPE_CHECKING:
    from graphorch.engine.run_services import RunServices
    from graphorch.models.client import ModelClient, OnText
    from graphorch.models.messages import Message, Request, Response


class RecordedClient:
    """The run's model client; each of its calls is reported, journaled and published.

    A call that an attempt before a crash made already is answered from the journal.
    """

    def __init__(
        self, services: RunServices, activation: Activation, request_counts: dict[str, int]
    ) -> None:
        self._services = services
        self._activation = activation
        self._request_counts = request_counts
        self._log = PromptLog()
        self._client: ModelClient = services.settings.client

    async def complete(self, request: Request, on_text: OnText | None = None) -> Response:
        """Return the response to a request, from the journal or from the client."""
        activation, services = self._activation, self._services
        key = self._compute_key(request) if services.is_journaled else ""
        if key and (recorded := services.recorded_response(activation, key)) is not None:
            return recorded
        began = services.now()
        try:
            response = await self._client.complete(request, on_text)
        except ModelError as error:
            failed_call = CallReport(activation.path, request.model, None, str(error))
            services.report.add_call(activation, failed_call)
            if key:
                services.record_failed_call(activation, error, self._describe(request, began))
            raise
        services.report.add_call(activation, CallReport(activation.path, response.model, response))
        if key:
            await services.record_call(activation, key, response, self._describe(request, began))
        if services.is_watched:
            services.publish(_build_model_called(activation, response))
        return response

    def _describe(self, request: Request, began: float) -> CallDescription:
        return CallDescription(began, self._services.now(), self._log.describe(request))

    def _compute_key(self, request: Request) -> str:
        """Return what identifies a request within its activation.

        It consists of what is requested and how many equal requests came before, not of its place
        among other requests: these may run concurrently, in another order each time.
        """
        schema = request.schema.model_json_schema() if request.schema is not None else None
        messages = [(message.role, message.content) for message in request.messages]
        content = repr(
            (
                request.model,
                messages,
                schema,
                request.max_tokens,
                request.temperature,
                request.tools,
            )
        )
        digest = hashlib.blake2b(content.encode("utf-8", "surrogatepass"), digest_size=16)
        name = digest.hexdigest()
        self._request_counts[name] = self._request_counts.get(name, 0) + 1
        return f"{name}:{self._request_counts[name]}"


def _build_model_called(activation: Activation, response: Response) -> ModelCalled:
    return ModelCalled(
        activation.path,
        activation.step.name,
        response.model,
        response.usage.input_tokens,
        response.usage.output_tokens,
        response.usd,
        response.usd_source,
        response.seconds,
        response.note,
    )


@dataclass(frozen=True, slots=True)
class RecordedCall:
    """One request to a model with its messages, and the response, or the error instead of it."""

    path: str
    activation: str
    model: str
    messages: tuple[Message, ...]
    response: Response | None
    error: str = ""


class RecordingClient:
    """Passes requests on, and keeps each with its response in `calls`, for debuggers."""

    def __init__(self, client: ModelClient) -> None:
        self._client = client
        self.calls: list[RecordedCall] = []

    async def complete(self, request: Request, on_text: OnText | None = None) -> Response:
        """Return the client's response."""
        try:
            response = await self._client.complete(request, on_text)
        except ModelError as error:
            self._keep(request, request.model, None, f"{type(error).__name__}: {error}")
            raise
        self._keep(request, response.model, response, "")
        return response

    def _keep(self, request: Request, model: str, response: Response | None, error: str) -> None:
        path = request.metadata.get("path", "")
        activation = request.metadata.get("activation", "")
        call = RecordedCall(path, activation, model, request.messages, response, error)
        self.calls.append(call)


def build_call_metadata(
    activation: Activation, run: Run, tags: Mapping[str, str]
) -> Mapping[str, str]:
    """Return where a model call belongs, for traces, gateways and bills.

    These are the run, the flow, the node and the levels around it, with the tags of the run and of
    the graphs.
    """
    parent = activation.scope.parent
    run_tags = [f"{key}={value}" for key, value in tags.items()]
    return {
        **tags,
        **_collect_graph_tags(activation),
        "tags": ",".join([run.plan.name, activation.step.name, *run_tags]),
        "trace_id": run.run_id,
        "run": run.run_id,
        "flow": run.plan.name,
        "run_id": run.run_id,
        "path": activation.path,
        "node": activation.step.name,
        "activation": activation.id,
        "parent": parent.id if parent is not None else run.run_id,
        "level": str(activation.path.count("/") + 1),
        "department": activation.path.rpartition("/")[0],
        "attempt": str(activation.attempt),
    }


def _collect_graph_tags(activation: Activation) -> dict[str, str]:
    """Return the tags of the graphs around an activation; the innermost value of a name wins."""
    tags: dict[str, str] = {}
    outer: Activation | None = activation
    while outer is not None:
        for name, view in outer.scope.plan.tags:
            if name not in tags and outer.version is not None and view.can_read(outer.version):
                tags[name] = str(view(outer.version))
        outer = outer.scope.parent
    return tags

"""Names of OpenTelemetry's conventions for generative AI, and ours beside them.

Source: open-telemetry/semantic-conventions-genai, main, as of 2026-11; all `gen_ai.*` are in
development there, so the names are kept here instead of following a package. A test compares them
with `opentelemetry-semantic-conventions`.
Phoenix, Langfuse and MLflow group by `openinference.span.kind`, `session.id` and `user.id`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

SCOPE = "graphorch"

OPERATION = "gen_ai.operation.name"
WORKFLOW = "gen_ai.workflow.name"
CONVERSATION = "gen_ai.conversation.id"
AGENT_NAME = "gen_ai.agent.name"
AGENT_ID = "gen_ai.agent.id"
PROVIDER = "gen_ai.provider.name"
REQUEST_MODEL = "gen_ai.request.model"
RESPONSE_MODEL = "gen_ai.response.model"
INPUT_TOKENS = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS = "gen_ai.usage.output_tokens"
CACHED_TOKENS = "gen_ai.usage.cache_read.input_tokens"
MAX_TOKENS = "gen_ai.request.max_tokens"
TEMPERATURE = "gen_ai.request.temperature"
FINISH_REASONS = "gen_ai.response.finish_reasons"
FIRST_CHUNK = "gen_ai.response.time_to_first_chunk"
OUTPUT_TYPE = "gen_ai.output.type"
SYSTEM_INSTRUCTIONS = "gen_ai.system_instructions"
TOOL_NAME = "gen_ai.tool.name"
TOOL_TYPE = "gen_ai.tool.type"
TOOL_CALL_ID = "gen_ai.tool.call.id"
TOOL_ARGUMENTS = "gen_ai.tool.call.arguments"
TOOL_RESULT = "gen_ai.tool.call.result"
SERVER = "server.address"
PORT = "server.port"
INPUT_MESSAGES = "gen_ai.input.messages"
OUTPUT_MESSAGES = "gen_ai.output.messages"
TOKEN_TYPE = "gen_ai.token.type"
ERROR_TYPE = "error.type"
EXCEPTION_TYPE = "exception.type"
EXCEPTION_MESSAGE = "exception.message"
SESSION = "session.id"
USER = "user.id"
OPENINFERENCE_KIND = "openinference.span.kind"

CHAT, INVOKE_WORKFLOW, INVOKE_AGENT, EXECUTE_TOOL = (
    "chat",
    "invoke_workflow",
    "invoke_agent",
    "execute_tool",
)

RUN_ID = "graphorch.run.id"
NODE_KIND = "graphorch.node.kind"
NODE_PATH = "graphorch.node.path"
NODE_LEVEL = "graphorch.node.level"
ATTEMPT = "graphorch.attempt"
LOOP = "graphorch.loop"
STATUS = "graphorch.status"
POLICY = "graphorch.policy"
ENDPOINT = "graphorch.endpoint"
# The conventions have no name for money.
COST = "graphorch.cost.usd"
COST_SOURCE = "graphorch.cost.source"
RETRIES = "graphorch.retries"
FALLBACKS = "graphorch.fallbacks"
HEDGES = "graphorch.hedges"
CACHE_HIT = "graphorch.cache.hit"
FINDINGS = "graphorch.guardrail.findings"
TAG = "graphorch.tag."
LINK = "graphorch.link"

DURATION_BOUNDS = tuple(0.01 * 2**power for power in range(14))
"""Seconds: 0.01, 0.02, 0.04 … 81.92."""

TOKEN_BOUNDS = tuple(4**power for power in range(14))
"""Tokens: 1, 4, 16 … 67,108,864."""


class Metric(NamedTuple):
    """A metric: its unit, its description, and the bounds of its buckets."""

    unit: str
    description: str
    bounds: tuple[float, ...]


METRICS: Mapping[str, Metric] = {
    "gen_ai.client.operation.duration": Metric("s", "Duration of model calls.", DURATION_BOUNDS),
    "gen_ai.client.operation.time_to_first_chunk": Metric(
        "s", "Time to the first piece of an answer.", DURATION_BOUNDS
    ),
    "gen_ai.client.token.usage": Metric("{token}", "Tokens of model calls.", TOKEN_BOUNDS),
    "gen_ai.workflow.duration": Metric("s", "Duration of runs.", DURATION_BOUNDS),
    "gen_ai.invoke_agent.duration": Metric("s", "Duration of agents.", DURATION_BOUNDS),
    "gen_ai.execute_tool.duration": Metric("s", "Duration of tool calls.", DURATION_BOUNDS),
    "graphorch.node.duration": Metric("s", "Duration of nodes but agents.", DURATION_BOUNDS),
    "graphorch.cost": Metric(
        "{USD}", "Dollars of model calls.", (0.0001, 0.001, 0.01, 0.1, 1.0, 10.0)
    ),
}

_PROVIDERS = {
    "google": "gcp.gemini",
    "gemini": "gcp.gemini",
    "vertex": "gcp.vertex_ai",
    "bedrock": "aws.bedrock",
    "azure": "azure.ai.openai",
    "mistral": "mistral_ai",
    "mistralai": "mistral_ai",
    "xai": "x_ai",
    "x-ai": "x_ai",
    "moonshot": "moonshot_ai",
    "moonshotai": "moonshot_ai",
}


def guess_provider(model: str) -> str:
    """Return the provider named by a model, `vendor/model`, or `_OTHER` without a vendor."""
    vendor, slash, _ = model.partition("/")
    return _PROVIDERS.get(vendor.lower(), vendor.lower()) if slash else "_OTHER"

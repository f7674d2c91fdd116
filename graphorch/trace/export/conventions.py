"""Names of OpenTelemetry's conventions for generative AI, and ours beside them.

Source: open-telemetry/semantic-conventions-genai, main, as of 2026-11; all `gen_ai.*` are in development there, so the names are kept here
instead of following a package. `openinference.span.kind`, `session.id` and `user.id` are what Phoenix, Langfuse and MLflow group by.
"""

from __future__ import annotations

from collections.abc import Mapping

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
TOOL_NAME = "gen_ai.tool.name"
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
FIRST_TOKEN = "graphorch.first_token.seconds"
ENDPOINT = "graphorch.endpoint"
COST = "graphorch.cost.usd"  # the conventions have no name for money
COST_SOURCE = "graphorch.cost.source"
RETRIES = "graphorch.retries"
FALLBACKS = "graphorch.fallbacks"
HEDGES = "graphorch.hedges"
CACHE_HIT = "graphorch.cache.hit"
FINDINGS = "graphorch.guardrail.findings"
TAG = "graphorch.tag."

DURATION_BOUNDS = (
    0.01,
    0.02,
    0.04,
    0.08,
    0.16,
    0.32,
    0.64,
    1.28,
    2.56,
    5.12,
    10.24,
    20.48,
    40.96,
    81.92,
)
TOKEN_BOUNDS = (
    1,
    4,
    16,
    64,
    256,
    1024,
    4096,
    16384,
    65536,
    262144,
    1048576,
    4194304,
    16777216,
    67108864,
)

METRICS: Mapping[str, tuple[str, str, tuple[float, ...]]] = {  # name: unit, description, bounds
    "gen_ai.client.operation.duration": ("s", "Duration of model calls.", DURATION_BOUNDS),
    "gen_ai.client.operation.time_to_first_chunk": (
        "s",
        "Time to the first piece of an answer.",
        DURATION_BOUNDS,
    ),
    "gen_ai.client.token.usage": ("{token}", "Tokens of model calls.", TOKEN_BOUNDS),
    "gen_ai.workflow.duration": ("s", "Duration of runs.", DURATION_BOUNDS),
    "gen_ai.invoke_agent.duration": ("s", "Duration of agents.", DURATION_BOUNDS),
    "gen_ai.execute_tool.duration": ("s", "Duration of tool calls.", DURATION_BOUNDS),
    "graphorch.node.duration": ("s", "Duration of nodes that are no agents.", DURATION_BOUNDS),
    "graphorch.cost": ("{USD}", "Dollars of model calls.", (0.0001, 0.001, 0.01, 0.1, 1.0, 10.0)),
}

_PROVIDERS = {
    "google": "gcp.gemini", "gemini": "gcp.gemini", "vertex": "gcp.vertex_ai", "bedrock": "aws.bedrock", "azure": "azure.ai.openai",
    "mistral": "mistral_ai", "mistralai": "mistral_ai", "xai": "x_ai", "x-ai": "x_ai", "moonshot": "moonshot_ai", "moonshotai": "moonshot_ai",
}  # fmt: skip


def guess_provider(model: str) -> str:
    """The provider by the name of a model, `vendor/model`; `_OTHER` if the name does not say."""
    vendor, slash, _ = model.partition("/")
    return _PROVIDERS.get(vendor.lower(), vendor.lower()) if slash else "_OTHER"

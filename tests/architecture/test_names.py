"""Public names: a change of a list here is a change of the promise to users, made on purpose."""

from __future__ import annotations

import inspect
import subprocess
import sys
from importlib import import_module

import pytest

import graphorch

PUBLIC = {
    "graphorch": """
        add agent Ambiguous append Approval Ask Assumed Budget BudgetExceeded Cache
        Cancelled Committed Context Emitted END Ended Estimate Expanded Expired Failed
        Failure Flow Graph GraphError GraphorchError History InputError InternalError
        JournalError KeepRecent last LimitReached Limits LoopExhausted maximum McpError
        McpLimits McpServer merge Message minimum Missing ModelCalled ModelClient
        ModelError node Node NodeError NotUndone OnQuestion Problem Prompt Question QuestionAsked
        QuestionClosed QuestionEvent QuorumNotMet RecursionLimit ReducerFailed Rejected
        ReplayDiverged Request Response Result Retry RunEvent RunFailed Secret ServerAnswer
        ServerQuestion Session Signal Skipped START Started TextDelta Timer tool Tool
        ToolApproval TooManyItems Unassigned union Untrusted Usage Wait WaitBegan Withdrawn
        Worker WriteConflict WrongOutput
    """.split(),
    "graphorch.debugger": """
        AtNode Breakpoint ChangedPrompt DebugStep OnError OnRoute Session When to_html
    """.split(),
    "graphorch.journal": """
        AppendConflict BodyLimits ForwardingStore InvalidName InvalidRecord JournalDamaged Lease
        LeaseExpired LeaseHeld LeaseLost Letter Mask MaskedStore MemoryStore NewLetter NewRun
        NewerFormat
        NotAJournal Outcome Pruned RECORD_KINDS Record RecordKind RunErased RunExists RunHead RunLog
        RunNotFound RunPage RunQuery Settlement Snapshot SqliteStore Store StoreClosed StoreFull
        StoreLocked StoreNotOpened StoreReadOnly StoreUnavailable
    """.split(),
    "graphorch.models": """
        Account Alert AnswerError Backoff BreakerRules Budget CacheLimits CachingClient
        CallLimits CapReached CircuitOpen Config ContextOverflow Detector Empty Guard GuardedClient
        GuardrailBlocked Hedge Match Message MeteredClient ModelClient OfflineClient
        OnText OpenAIClient Policy Prices Prompt RateLimits Refused RegexDetector Request
        Response RetryRules RetryingClient Router RoutingRecord SchemaRefused Target
        Throttled TimedOut ToolCall ToolSpec Truncated Unreachable Unreadable Usage
        cascade cheapest fallback fastest find_config personal_data read_config secrets
        weighted
    """.split(),
    "graphorch.patterns": """
        Chosen Declined Digest Feedback Gaps GateRejected GateVerdict Gated PlanRefused
        Repeat Round ScoreOutside Stop TasksDeclined Unjudged
    """.split(),
    "graphorch.testing": """
        Deadlock Drawn FailNth FlakyModel FlowBroken FlowReport Injected RecordedRun
        ReducerBroken ReducerReport Schedule ScriptMismatch ScriptedModel ScriptedTool
        VirtualLoop around_nodes call check_flow check_reducer flows recorded_tools
        run_under run_virtual schedules slices tool_results updates virtual_now when with_nodes
        with_tools
    """.split(),
    "graphorch.trace": """
        Conversation Otlp Recorder Redaction Sampling Selection Sink Span SpanIndex Trace
        Turn build_conversation build_trace continuing current_headers
    """.split(),
}
LAZY = ["graphorch.debugger", "graphorch.journal", "graphorch.models"]
EVERY_NAME = [(namespace, name) for namespace, names in PUBLIC.items() for name in names]


def is_undocumented(value: object) -> bool:
    """Return whether a class or function lacks a docstring of its own.

    The docstring that a dataclass makes of its fields does not count.
    """
    if inspect.isclass(value):
        own = vars(value).get("__doc__") or ""
        return not own.strip() or own.startswith(f"{value.__name__}(")
    return inspect.isroutine(value) and not (value.__doc__ or "").strip()


@pytest.mark.parametrize("namespace", PUBLIC)
def test_namespace_exports_promised_names(namespace: str) -> None:
    """The list of a namespace is the one that users were promised."""
    assert sorted(import_module(namespace).__all__) == sorted(PUBLIC[namespace])


@pytest.mark.parametrize("namespace", PUBLIC)
def test_dir_lists_public_names(namespace: str) -> None:
    """Completion in a notebook reads `dir`; names that load lazily have to be put there."""
    assert set(PUBLIC[namespace]) <= set(dir(import_module(namespace)))


@pytest.mark.parametrize("namespace, name", EVERY_NAME)
def test_public_name_is_documented(namespace: str, name: str) -> None:
    """Each public name can be imported, and has a docstring."""
    value = getattr(import_module(namespace), name)
    assert not is_undocumented(value), f"{namespace}.{name} has no docstring of its own"


def test_one_name_means_one_thing() -> None:
    """A name that two namespaces export is one object."""
    for namespace, name in EVERY_NAME:
        if name in PUBLIC["graphorch"]:
            value = getattr(import_module(namespace), name)
            assert value is getattr(graphorch, name), f"{namespace}.{name}"


@pytest.mark.parametrize(
    "namespace", ["graphorch.debugger", "graphorch.journal", "graphorch.models"]
)
def test_namespace_loads_nothing_by_itself(namespace: str) -> None:
    """A lazy namespace imports the modules behind its names only when a name is used."""
    program = f"import sys; import {namespace}; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout.split()
    assert [name for name in loaded if name.startswith(f"{namespace}.")] == []
    assert "pydantic" not in loaded


@pytest.mark.parametrize("namespace", PUBLIC)
def test_unknown_name_is_attribute_error(namespace: str) -> None:
    """As of any module, so that `hasattr` and copying work."""
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = import_module(namespace).no_such_name

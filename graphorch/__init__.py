"""graphorch: a typed graph orchestrator for multi-agent LLM work.

A node is a plain function: its parameters are the slices of state that it reads, its return value
is the slice that it writes. The graph gives the order, and `build()` proves that everything fits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphorch._lazy import lazy_names
from graphorch._version import __version__ as __version__

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from graphorch.agents.agent import agent as agent
    from graphorch.agents.history import History as History
    from graphorch.agents.history import KeepRecent as KeepRecent
    from graphorch.agents.mcp.declaration import McpLimits as McpLimits
    from graphorch.agents.mcp.errors import McpError as McpError
    from graphorch.agents.mcp.questions import ServerAnswer as ServerAnswer
    from graphorch.agents.mcp.questions import ServerQuestion as ServerQuestion
    from graphorch.agents.mcp.server import McpServer as McpServer
    from graphorch.agents.tool import Tool as Tool
    from graphorch.agents.tool import tool as tool
    from graphorch.debugger.session import Session as Session
    from graphorch.engine.events import Cancelled as Cancelled
    from graphorch.engine.events import Committed as Committed
    from graphorch.engine.events import Emitted as Emitted
    from graphorch.engine.events import Ended as Ended
    from graphorch.engine.events import Expanded as Expanded
    from graphorch.engine.events import Failed as Failed
    from graphorch.engine.events import ModelCalled as ModelCalled
    from graphorch.engine.events import QuestionAsked as QuestionAsked
    from graphorch.engine.events import RunEvent as RunEvent
    from graphorch.engine.events import Skipped as Skipped
    from graphorch.engine.events import Started as Started
    from graphorch.engine.events import TextDelta as TextDelta
    from graphorch.engine.events import WaitBegan as WaitBegan
    from graphorch.engine.questions.question_event import OnQuestion as OnQuestion
    from graphorch.engine.questions.question_event import QuestionEvent as QuestionEvent
    from graphorch.engine.settings import Limits as Limits
    from graphorch.errors import Ambiguous as Ambiguous
    from graphorch.errors import BudgetExceeded as BudgetExceeded
    from graphorch.errors import Expired as Expired
    from graphorch.errors import GraphError as GraphError
    from graphorch.errors import GraphorchError as GraphorchError
    from graphorch.errors import InputError as InputError
    from graphorch.errors import InternalError as InternalError
    from graphorch.errors import JournalError as JournalError
    from graphorch.errors import LimitReached as LimitReached
    from graphorch.errors import LoopExhausted as LoopExhausted
    from graphorch.errors import ModelError as ModelError
    from graphorch.errors import NodeError as NodeError
    from graphorch.errors import NotUndone as NotUndone
    from graphorch.errors import Problem as Problem
    from graphorch.errors import QuestionClosed as QuestionClosed
    from graphorch.errors import QuorumNotMet as QuorumNotMet
    from graphorch.errors import RecursionLimit as RecursionLimit
    from graphorch.errors import ReducerFailed as ReducerFailed
    from graphorch.errors import Rejected as Rejected
    from graphorch.errors import ReplayDiverged as ReplayDiverged
    from graphorch.errors import RunFailed as RunFailed
    from graphorch.errors import TooManyItems as TooManyItems
    from graphorch.errors import Unassigned as Unassigned
    from graphorch.errors import Withdrawn as Withdrawn
    from graphorch.errors import WriteConflict as WriteConflict
    from graphorch.errors import WrongOutput as WrongOutput
    from graphorch.flow.flow import Flow as Flow
    from graphorch.flow.graph import Graph as Graph
    from graphorch.graph.approval import Approval as Approval
    from graphorch.graph.approval import ToolApproval as ToolApproval
    from graphorch.graph.context import Context as Context
    from graphorch.graph.estimate.amounts import Assumed as Assumed
    from graphorch.graph.estimate.estimator import Estimate as Estimate
    from graphorch.graph.node import END as END
    from graphorch.graph.node import START as START
    from graphorch.graph.node import Ask as Ask
    from graphorch.graph.node import Node as Node
    from graphorch.graph.node import Signal as Signal
    from graphorch.graph.node import Timer as Timer
    from graphorch.graph.node import node as node
    from graphorch.graph.options import Cache as Cache
    from graphorch.graph.options import Retry as Retry
    from graphorch.graph.payloads import Failure as Failure
    from graphorch.graph.payloads import Missing as Missing
    from graphorch.models.budgets.budget import Budget as Budget
    from graphorch.models.client import ModelClient as ModelClient
    from graphorch.models.messages import Message as Message
    from graphorch.models.messages import Prompt as Prompt
    from graphorch.models.messages import Request as Request
    from graphorch.models.messages import Response as Response
    from graphorch.models.messages import Usage as Usage
    from graphorch.runs.result import Question as Question
    from graphorch.runs.result import Result as Result
    from graphorch.runs.result import Wait as Wait
    from graphorch.state.marks import Secret as Secret
    from graphorch.state.marks import Untrusted as Untrusted
    from graphorch.state.reducers import add as add
    from graphorch.state.reducers import append as append
    from graphorch.state.reducers import last as last
    from graphorch.state.reducers import maximum as maximum
    from graphorch.state.reducers import merge as merge
    from graphorch.state.reducers import minimum as minimum
    from graphorch.state.reducers import union as union
    from graphorch.workers.worker import Worker as Worker

# Where each public name lives.
__getattr__: Callable[[str], Any]
__dir__: Callable[[], list[str]]
__all__, __getattr__, __dir__ = lazy_names(  # pyright: ignore[reportUnsupportedDunderAll]
    __name__,
    {
        "agents.agent": "agent",
        "agents.mcp.declaration": "McpLimits",
        "agents.mcp.errors": "McpError",
        "agents.mcp.questions": "ServerAnswer ServerQuestion",
        "agents.mcp.server": "McpServer",
        "agents.history": "History KeepRecent",
        "agents.tool": "Tool tool",
        "engine.events": (
            "Cancelled Committed Emitted Ended Expanded Failed ModelCalled QuestionAsked RunEvent "
            "Skipped Started TextDelta WaitBegan"
        ),
        "engine.questions.question_event": "OnQuestion QuestionEvent",
        "engine.settings": "Limits",
        "errors": (
            "Ambiguous BudgetExceeded Expired GraphError GraphorchError InputError InternalError "
            "JournalError LimitReached LoopExhausted ModelError NodeError NotUndone Problem "
            "QuestionClosed QuorumNotMet RecursionLimit ReducerFailed Rejected ReplayDiverged "
            "RunFailed TooManyItems Unassigned Withdrawn WriteConflict WrongOutput"
        ),
        "flow.flow": "Flow",
        "flow.graph": "Graph",
        "runs.result": "Question Result Wait",
        "debugger.session": "Session",
        "graph.estimate.amounts": "Assumed",
        "graph.context": "Context",
        "graph.estimate.estimator": "Estimate",
        "graph.approval": "Approval ToolApproval",
        "graph.payloads": "Failure Missing",
        "graph.node": "Ask END Node START Signal Timer node",
        "graph.options": "Cache Retry",
        "models.budgets.budget": "Budget",
        "models.client": "ModelClient",
        "models.messages": "Message Prompt Request Response Usage",
        "state.marks": "Secret Untrusted",
        "state.reducers": "add append last maximum merge minimum union",
        "workers.worker": "Worker",
    },
)

"""Context for tests of agents: it keeps the calls and gives fixed answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from graphorch.models.budgets.budget import Budget
from graphorch.models.messages import Prompt


@dataclass
class Asked:
    """A `Context` whose every call gives `answer`."""

    answer: Any
    calls: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    key: str = "k"
    attempt: int = 1
    path: str = "agent"
    time_left: float | None = None
    budget_left: Budget = field(default_factory=Budget)
    resources: Any = None

    async def complete(self, prompt: Prompt, **options: Any) -> Any:
        self.calls.append({"prompt": prompt, **options})
        return self.answer

    def emit(self, event: BaseModel) -> None: ...

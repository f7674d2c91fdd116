"""The asyncio driver of the core: it runs what the core decides, and writes down what happened.

- `scheduler`: the life of one run; over `dispatcher` (events and commands) and `task_pool` (tasks)
- `attempts/`: one attempt of an activation, its context and its model calls
- `invocation/`: how the function of a node is called
- `event_log`, `run_journal`, `record_bodies`, `state_codec`: from events to durable records
- `replay`, `fork`: from records to runs
- `observers`, `events`, `report`: what people see of a run
- `run_services`, `settings`, `node_budgets`, `node_cache`, `human_input`, `prompt_log`: for all
"""

from __future__ import annotations

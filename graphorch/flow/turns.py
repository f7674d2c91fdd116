"""The next turn of a conversation: a new run that begins with what an earlier one remembers."""

from __future__ import annotations

from graphorch.core.events import Update
from graphorch.errors import InputError
from graphorch.flow.durable import rebuilt_run
from graphorch.graph.plan import Plan
from graphorch.journal.store import Store


async def next_turn(store: Store, plan: Plan, after: str, given: Update) -> Update:
    """What a run after another one begins with: the remembered fields of that one as they were at its end, and what is given now.

    What is given wins; a field with a reducer folds it into what is remembered. It all becomes the input of the new run, so that run can
    be replayed without the earlier one. Raises `InputError` if there is nothing to follow, and `JournalError`.
    """
    if not plan.blueprint.remember:
        raise InputError(f"after={after!r}: flow '{plan.name}' remembers nothing. Declare what its next turn needs: Graph(…, remember=[Slice]).")
    remembered = await _remembered(store, plan, after)
    for index, value in given.items():
        reduce = plan.schema.fields[index].reduce
        remembered[index] = value if reduce is None or index not in remembered else reduce(remembered[index], value)
    return remembered


async def _remembered(store: Store, plan: Plan, run_id: str) -> Update:
    head, rebuilt = await rebuilt_run(store, plan, run_id)
    version = rebuilt.run.root.output
    if version is None or rebuilt.run.status not in ("succeeded", "partial"):
        raise InputError(f"after={run_id!r}: that run is {head.status}, and a next turn follows a run that reached its end. Go on with it first.")
    fields = [plan.schema.by_name[name] for model in plan.blueprint.remember for name in model.model_fields]
    return {field.index: field.value(version) for field in fields if version.get(field.index) is not None}

"""Files with flows that wait for signals and times, for tests of the commands about them."""

from __future__ import annotations

import asyncio
import time

from graphorch.cli.flow_loader import load_flow
from tests.cli.flows import run_json
from tests.cli.shell import Shell

SIGNALS = """
from datetime import timedelta
from graphorch import START, Expired

class Payment(BaseModel):
    amount: int = 0
    id: str = ""

class State(Topic, Draft, Payment): ...

@node
def ship(topic: Topic, payment: Payment) -> Draft:
    return Draft(draft=f"{topic.topic} for {payment.amount}{payment.id}")

@node
def remind(topic: Topic) -> Draft:
    return Draft(draft=f"reminded of {topic.topic}")

g = Graph("paid", State, input=Topic, output=Draft)
paid = g.signal("paid", Payment, key=lambda topic: topic.topic, expires=500.0)
g.chain(START, paid, ship).on_error(paid, remind, when=Expired)
flow = g.build()

g = Graph("later", State, input=Topic, output=Draft)
later = g.chain(START, g.timer("pause", after=timedelta(hours=2)), remind).build()

g = Graph("early", State, input=Topic, output=Draft)
pause = g.timer("pause", after=timedelta(hours=2))
early = g.chain(START, pause, g.signal("paid", Payment), ship).build()

@node
def break_always(topic: Topic) -> Draft:
    if topic.topic == "bad":
        raise RuntimeError("it is broken")
    return Draft(draft=f"reminded of {topic.topic}")

g = Graph("later", State, input=Topic, output=Draft)
fails = g.chain(START, g.timer("pause", after=timedelta(hours=2)), break_always).build()
"""


def start_signal_run(shell: Shell, *options: str, flow: str = "paid.py") -> str:
    """Start a run in `r.sqlite` that waits for a signal or a time, and return its id."""
    shell.write("paid.py", SIGNALS)
    return run_json(shell, "run", flow, "--topic", "tea", "--db", "r.sqlite", *options)["run_id"]


def start_old_run(
    shell: Shell, run_id: str, flow: str = "paid.py:later", topic: str = "tea"
) -> str:
    """Start a run in `r.sqlite` as it was started a day ago, and return its id."""
    shell.write("paid.py", SIGNALS)
    loaded = load_flow(flow).flow
    given = loaded.plan.input(topic=topic)
    started = loaded.run(
        given, run_id=run_id, durable="r.sqlite", clock=lambda: time.time() - 86_400.0
    )
    assert asyncio.run(started).status == "waiting"
    return run_id

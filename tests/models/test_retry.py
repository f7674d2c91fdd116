"""Asking again: only what may pass, not too often, with pauses that grow, and never beyond the time of the request."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest

from graphorch.errors import InputError, ModelError
from graphorch.models.messages import Message, Request, Response
from graphorch.models.retry import Backoff, PendingRetry, RetryingClient
from tests.models.clients import Scripted, response_of


@dataclass
class Clock:
    """Time that passes only where somebody sleeps."""

    now: float = 0.0
    pauses: list[float] = field(default_factory=list[float])

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


def passing(retry_after: float | None = None) -> ModelError:
    return ModelError("busy", model="m", retryable=True, retry_after=retry_after)


def question(timeout: float | None = None, prompt: str = "hi", run: str = "r") -> Request:
    return Request("m", (Message(content=prompt),), timeout=timeout, metadata={"run": run})


def ask(
    steps: list[str | ModelError], *, request: Request | None = None, backoff: Backoff | None = None
) -> tuple[Response | ModelError, Scripted, Clock]:
    client, clock = Scripted([*steps]), Clock()
    retrying = RetryingClient(client, backoff, sleep=clock.sleep, clock=clock)
    try:
        return asyncio.run(retrying.complete(request or question())), client, clock
    except ModelError as error:
        return error, client, clock


def test_a_failure_that_passes_is_asked_again_and_counted() -> None:
    response, client, clock = ask([passing(), passing(), "hello"])
    assert isinstance(response, Response)
    assert (response.text, response.attempts, len(client.asked)) == ("hello", 3, 3)
    assert response.seconds == pytest.approx(1.0 + sum(clock.pauses))


def test_what_will_not_pass_is_asked_once() -> None:
    failure = ModelError("wrong key", model="m")
    outcome, client, _ = ask([failure])
    assert outcome is failure
    assert len(client.asked) == 1


def test_the_attempts_are_bounded_and_the_last_error_says_so() -> None:
    outcome, client, clock = ask([passing()], backoff=Backoff(attempts=4))
    assert len(client.asked) == 4
    assert len(clock.pauses) == 3
    assert "gave up after 4 attempts: the attempts are used up" in getattr(outcome, "__notes__", [])


def test_pauses_grow_up_to_their_limit_and_are_spread() -> None:
    backoff = Backoff(attempts=9, first=1, factor=2, longest=8)
    _, _, clock = ask([passing()], backoff=backoff)
    for attempt, pause in enumerate(clock.pauses):
        full = min(8, 2**attempt)
        assert full / 2 <= pause < full
    assert len(set(clock.pauses)) == 8


def test_the_same_request_waits_the_same_and_others_do_not_come_back_with_it() -> None:
    pauses = {Backoff().pause(question(run=str(run)), 1) for run in range(50)}
    assert len(pauses) == 50
    assert Backoff().pause(question(), 1) == Backoff().pause(question(), 1)


@pytest.mark.parametrize("asked_for, pause", [(5.0, 5.0), (60.0, 60.0)])
def test_the_wait_that_the_endpoint_asks_for_is_kept(asked_for: float, pause: float) -> None:
    _, _, clock = ask([passing(asked_for), "hello"])
    assert clock.pauses == [pause]


@pytest.mark.parametrize("asked_for", [0.0, 0.01])
def test_leave_to_come_back_at_once_is_not_taken(asked_for: float) -> None:
    _, _, clock = ask([passing(asked_for), "hello"])
    assert clock.pauses[0] >= 0.25


def test_a_wait_beyond_patience_fails_at_once() -> None:
    outcome, client, clock = ask([passing(3600.0), "hello"])
    assert isinstance(outcome, ModelError)
    assert (len(client.asked), clock.pauses, outcome.retry_after) == (1, [], 3600.0)
    assert "wants a pause of 3600 s" in outcome.__notes__[0]


def test_no_attempt_begins_after_the_time_of_the_request() -> None:
    outcome, client, clock = ask([passing()], request=question(timeout=0.1))
    assert isinstance(outcome, ModelError)
    assert (len(client.asked), clock.pauses) == (1, [])
    assert "only 0.1 s are left" in outcome.__notes__[0]


def test_each_attempt_gets_what_is_left_of_the_time() -> None:
    _, client, clock = ask([passing(), passing(), "hello"], request=question(timeout=10.0))
    assert [request.timeout for request in client.asked] == pytest.approx(
        [10.0, 10.0 - clock.pauses[0], 10.0 - sum(clock.pauses)]
    )


def test_every_retry_is_told_before_its_pause() -> None:
    told: list[PendingRetry] = []
    clock = Clock()
    client = RetryingClient(
        Scripted([passing(), "hello"]), on_retry=told.append, sleep=clock.sleep, clock=clock
    )
    asyncio.run(client.complete(question()))
    assert [(retrying.attempt, retrying.pause) for retrying in told] == [(1, clock.pauses[0])]
    assert told[0].error.retryable


def test_closing_closes_the_client_within() -> None:
    closed: list[str] = []

    class Closing(Scripted):
        async def aclose(self) -> None:
            closed.append("yes")

    asyncio.run(RetryingClient(Closing([lambda request: response_of("x")])).aclose())
    asyncio.run(RetryingClient(Scripted(["x"])).aclose())  # nothing to close there
    assert closed == ["yes"]


@pytest.mark.parametrize(
    "wrong",
    [{"attempts": 0}, {"first": -1.0}, {"factor": 0.5}, {"longest": -1.0}, {"patience": -1.0}],
)
def test_values_without_sense_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError, match="attempts ≥ 1"):
        Backoff(**wrong)  # pyright: ignore[reportArgumentType]

"""Retries: only after retryable failures, with growing pauses, within the request's timeout."""

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
    """A clock that advances only during `sleep`."""

    now: float = 0.0
    pauses: list[float] = field(default_factory=list[float])

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


def busy_error(retry_after: float | None = None) -> ModelError:
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


def test_retry_counts_attempts() -> None:
    """Ask again after a retryable failure and count the attempts."""
    response, client, clock = ask([busy_error(), busy_error(), "hello"])
    assert isinstance(response, Response)
    assert (response.text, response.attempts, len(client.asked)) == ("hello", 3, 3)
    assert response.seconds == pytest.approx(1.0 + sum(clock.pauses))


def test_retry_skips_final_failures() -> None:
    """Do not repeat a call whose failure is final."""
    failure = ModelError("wrong key", model="m")
    outcome, client, _ = ask([failure])
    assert outcome is failure
    assert len(client.asked) == 1


def test_retry_stops_after_attempts() -> None:
    """Stop after the allowed attempts and note it on the last error."""
    outcome, client, clock = ask([busy_error()], backoff=Backoff(attempts=4))
    assert len(client.asked) == 4
    assert len(clock.pauses) == 3
    assert "gave up after 4 attempts: the attempts are used up" in getattr(outcome, "__notes__", [])


def test_retry_pauses_grow_with_jitter() -> None:
    """Double the pauses up to their limit, with jitter."""
    backoff = Backoff(attempts=9, first=1, factor=2, longest=8)
    _, _, clock = ask([busy_error()], backoff=backoff)
    for attempt, pause in enumerate(clock.pauses):
        full = min(8, 2**attempt)
        assert full / 2 <= pause < full
    assert len(set(clock.pauses)) == 8


def test_retry_pause_depends_on_request() -> None:
    """Choose equal pauses for equal requests and different ones for others."""
    pauses = {Backoff().pause(question(run=str(run)), 1) for run in range(50)}
    assert len(pauses) == 50
    assert Backoff().pause(question(), 1) == Backoff().pause(question(), 1)


@pytest.mark.parametrize("asked_for, pause", [(5.0, 5.0), (60.0, 60.0)])
def test_retry_keeps_requested_pause(asked_for: float, pause: float) -> None:
    """Pause for as long as the endpoint asks."""
    _, _, clock = ask([busy_error(asked_for), "hello"])
    assert clock.pauses == [pause]


@pytest.mark.parametrize("asked_for", [0.0, 0.01])
def test_retry_never_repeats_immediately(asked_for: float) -> None:
    """Pause even if the endpoint allows an immediate retry."""
    _, _, clock = ask([busy_error(asked_for), "hello"])
    assert clock.pauses[0] >= 0.25


def test_retry_refuses_long_pause() -> None:
    """Fail at once if the endpoint asks for a pause beyond `patience`."""
    outcome, client, clock = ask([busy_error(3600.0), "hello"])
    assert isinstance(outcome, ModelError)
    assert (len(client.asked), clock.pauses, outcome.retry_after) == (1, [], 3600.0)
    assert "wants a pause of 3600 s" in outcome.__notes__[0]


def test_retry_respects_request_timeout() -> None:
    """Begin no attempt after the timeout of the request."""
    outcome, client, clock = ask([busy_error()], request=question(timeout=0.1))
    assert isinstance(outcome, ModelError)
    assert (len(client.asked), clock.pauses) == (1, [])
    assert "only 0.1 s are left" in outcome.__notes__[0]


def test_retry_passes_remaining_time() -> None:
    """Give each attempt the time that is left."""
    _, client, clock = ask([busy_error(), busy_error(), "hello"], request=question(timeout=10.0))
    assert [request.timeout for request in client.asked] == pytest.approx(
        [10.0, 10.0 - clock.pauses[0], 10.0 - sum(clock.pauses)]
    )


def test_retry_reports_before_pause() -> None:
    """Report every retry before its pause."""
    retries: list[PendingRetry] = []
    clock = Clock()
    client = RetryingClient(
        Scripted([busy_error(), "hello"]), on_retry=retries.append, sleep=clock.sleep, clock=clock
    )
    asyncio.run(client.complete(question()))
    assert [(retrying.attempt, retrying.pause) for retrying in retries] == [(1, clock.pauses[0])]
    assert retries[0].error.retryable


def test_retry_closes_inner_client() -> None:
    """Close the wrapped client, if it can be closed."""
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
def test_backoff_checks_its_values(wrong: dict[str, float]) -> None:
    """Refuse values that make no sense."""
    with pytest.raises(InputError, match="attempts ≥ 1"):
        Backoff(**wrong)  # pyright: ignore[reportArgumentType]

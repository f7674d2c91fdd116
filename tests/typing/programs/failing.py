"""What may go wrong, and where each of it is handled: retries, error edges, races, limits, and at last the caller."""

from __future__ import annotations

from pydantic import BaseModel

from graphorch import (
    END,
    Budget,
    Failure,
    Graph,
    Limits,
    LoopExhausted,
    ModelError,
    NodeError,
    Retry,
    RunFailed,
    node,
)


class Place(BaseModel):
    place: str


class Weather(BaseModel):
    weather: str = ""


class Report(Place, Weather): ...


@node(retry=Retry(2, on=(TimeoutError,), first=0.0), timeout=5)
async def ask_station(p: Place) -> Weather:
    if p.place == "sea":
        raise TimeoutError("no answer")
    if p.place == "moon":
        raise LookupError("no such station")
    return Weather(weather="sun")


@node
async def look_outside(p: Place) -> Weather:
    return Weather(weather="rain")


@node
def guess(f: Failure, p: Place) -> Weather:
    return Weather(weather=f"{p.place}: {f.error} in attempt {f.attempt}")


@node
def note(f: Failure) -> None:
    print(f.message)


@node
def publish(w: Weather | None) -> Weather:
    return w or Weather(weather="unknown")


race = Graph("race", Report, input=Place, output=Weather)
race.chain(ask_station, publish).chain(look_outside, publish).join(publish, need=1, short="fire", rest="finish")
race_flow = race.build()

report = Graph("report", Report, input=Place, output=Weather)
report.chain(ask_station, END)
report.on_error(ask_station, guess, when=(TimeoutError, ModelError)).on_error(ask_station, END, when=LoopExhausted)
flow = report.build()

ANSWER = ["sun", "sea: TimeoutError in attempt 2", "ask_station: no such station", True]


def main() -> list[object]:
    found: list[object] = [flow.run_sync(Place(place=place), limits=Limits(seconds=5)).output.weather for place in ("hill", "sea")]
    try:
        flow.run_sync(Place(place="moon"), budget=Budget(usd=1), on_failure="cancel", tags={"from": "tests"})
    except* NodeError as errors:
        found += [f"{one.node}: {one.__cause__}" for one in errors.exceptions if isinstance(one, NodeError)]
    try:
        weather = race_flow.run_sync(Place(place="hill"), run_id="hill-1").output.weather
    except RunFailed as failed:
        weather = failed.end_reason
    return [*found, weather in ("sun", "rain")]

"""Questions to the scheduler of Dask and its workers, about the tasks of all clients.

The functions inside of these run there. They are sent as they are, so that a scheduler needs no
graphorch: they use nothing from outside of themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def make_find_alive() -> Callable[..., list[str]]:
    """Return a function that returns those of some keys whose tasks wait or are handled."""

    def find_alive(keys: list[str], dask_scheduler: Any = None) -> list[str]:
        states = ("released", "waiting", "no-worker", "queued", "processing")
        tasks = dask_scheduler.tasks
        return [key for key in keys if key in tasks and tasks[key].state in states]

    return find_alive


def make_list_begun() -> Callable[..., list[str]]:
    """Return a function that lists the keys of the tasks that a worker has begun."""

    def list_begun(dask_worker: Any = None) -> list[str]:
        return [task.key for task in dask_worker.state.executing]

    return list_begun


def make_withdraw() -> Callable[..., None]:
    """Return a function that has the scheduler forget tasks."""

    def withdraw(keys: list[str], dask_scheduler: Any = None) -> None:
        for key in keys:
            task = dask_scheduler.tasks.get(key)
            for client in list(task.who_wants) if task is not None else ():
                dask_scheduler.client_releases_keys(
                    keys=[key], client=client.client_key, stimulus_id="graphorch-withdraw"
                )

    return withdraw


def make_list_jobs() -> Callable[..., list[tuple[str, float, str | None, int]]]:
    """Return a function that lists the tasks of jobs.

    Each is its kind, when it was put, the worker that has it, and how many threads that one has.
    """

    def list_jobs(dask_scheduler: Any = None) -> list[tuple[str, float, str | None, int]]:
        found: list[tuple[str, float, str | None, int]] = []
        for task in dask_scheduler.tasks.values():
            annotations: dict[str, Any] = task.annotations or {}
            put = annotations.get("graphorch")
            if put is None or task.state in ("memory", "erred", "forgotten"):
                continue
            kind = next(iter(task.resource_restrictions))
            worker = task.processing_on
            found.append(
                (kind, put, worker and worker.address, 0 if worker is None else worker.nthreads)
            )
        return found

    return list_jobs


def make_count_workers() -> Callable[..., list[int]]:
    """Return a function that returns how many workers serve each of some kinds."""

    def count_workers(kinds: list[str], dask_scheduler: Any = None) -> list[int]:
        return [len(dask_scheduler.resources.get(kind, ())) for kind in kinds]

    return count_workers

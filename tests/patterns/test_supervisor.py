"""Supervisor: plans are checked, tasks delegated or replanned, and long reports digested."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Literal

import pytest
from pydantic import BaseModel

from graphorch import Context, Flow, Graph, Request, RunEvent, TooManyItems, agent, node
from graphorch.models.token_count import bound_input_tokens
from graphorch.patterns import Declined, Digest, Feedback, PlanRefused, TasksDeclined
from graphorch.testing.virtual_clock import run_virtual
from tests.patterns.helpers import Models, asked, cause, codes, emitted, events_of, failure

Who = Literal["web", "paper"]


class Goal(BaseModel):
    goal: str


class Task(BaseModel):
    worker: Who = "web"
    text: str
    id: str = ""
    needs: list[str] = []


class Plan(BaseModel):
    tasks: list[Task] = []


class Report(BaseModel):
    text: str
    declined: str = ""


class Notes(BaseModel):
    notes: list[str] = []


class Answer(BaseModel):
    answer: str = ""


class Office(Goal, Plan, Notes, Answer): ...


class Told(Office, Feedback): ...


@agent(output=Plan, model="vendor/frontier")
def plan(g: Goal) -> str:
    return f"Plan: {g.goal}"


@agent(output=Report, model="vendor/cheap")
def web(t: Task) -> str:
    return f"Search: {t.text}"


@agent(output=Report, model="vendor/cheap")
def paper(t: Task) -> str:
    return f"Read: {t.text}"


@agent(output=Answer, model="vendor/frontier")
def assemble(g: Goal, n: Notes) -> str:
    return f"Answer {g.goal} from:\n" + "\n".join(n.notes)


def tasks_of(p: Plan) -> list[Task]:
    return p.tasks


def worker_of(t: Task) -> Who:
    return t.worker


def collect(reports: list[Report]) -> Notes:
    return Notes(notes=[report.text for report in reports])


WORKERS: dict[Who, Any] = {"web": web, "paper": paper}


def office(
    planner: Any = plan,
    workers: dict[Who, Any] | None = None,
    state: type[Office] = Office,
    **options: Any,
) -> Graph[Any, Any, Any]:
    options = {"gather": collect, "max_tasks": 16, "assemble": assemble, **options}
    graph: Graph[Any, Any, Any] = Graph("office", state, input=Goal, output=Answer)
    return graph.supervisor(
        planner, tasks=tasks_of, worker_of=worker_of, workers=workers or WORKERS, **options
    )


def planning(*plans: list[Task], report: str = "found", declining: Sequence[str] = ()) -> Models:
    """Answer with these plans in turn, and with a report of every task, or decline some.

    Tasks whose prompt contains a text of `declining` are declined.
    """
    left = list(plans)

    def say(request: Request) -> Any:
        prompt = asked(request)
        if request.metadata["node"] == "plan":
            return Plan(tasks=left.pop(0) if len(left) > 1 else left[0])
        if request.metadata["node"] == "assemble":
            return "the answer"
        refused = next((text for text in declining if text in prompt), "")
        return Report(
            text=f"{report}: {prompt}", declined=f"{refused} is not for me" if refused else ""
        )

    return Models(say)


def run(flow: Flow[Any, Any, Any], models: Models | None = None, **options: Any) -> Any:
    return run_virtual(flow.run(Goal(goal="tides"), client=models, **options))


def planner_of(*tasks: Task) -> Any:
    @node(name="plan")
    def given(g: Goal) -> Plan:
        return Plan(tasks=list(tasks))

    return given


# ---- context -------------------------------------------------------------------------------------
def long_reports(count: int) -> Models:
    """Workers whose reports have 20,000 tokens each, by the rule of four characters."""
    word = "tide-table. "
    return planning(
        [Task(text=f"part {number}") for number in range(count)],
        report=word * (80_000 // len(word)),
    )


@pytest.mark.parametrize("count", [4, 8, 16])
def test_digests_bound_assembling_prompt(
    count: int,
) -> None:
    """The assembling prompt stays under its bound; the plain wiring grows with every worker."""
    plain = Graph("office", Office, input=Goal, output=Answer)
    workers = plain.map("workers", web, over=tasks_of, gather=collect, max_items=16)
    models = long_reports(count)
    run(plain.chain(plan, workers, assemble).build(), models)
    assert len(asked(models.of("assemble")[0])) / 4 > count * 19_000
    models = long_reports(count)
    run(office(digest_tokens=6000).build(), models)
    assembling = models.of("assemble")[0]
    assert len(asked(assembling)) / 4 <= 6000 + 50
    # bytes: what certainly bounds the tokens of any model is three times the budget
    assert len(asked(assembling).encode()) <= 3 * 6000 + 200
    assert bound_input_tokens(assembling) <= 3 * 6000 + 400


def test_digests_are_events() -> None:
    events = run_virtual(
        events_of(office(digest_tokens=6000).build(), Goal(goal="tides"), client=long_reports(4))
    )
    digests: list[Digest] = emitted(events, Digest)
    assert [digest.task for digest in digests] == ["1", "2", "3", "4"]
    assert all(digest.tokens > 20_000 and digest.kept <= 1500 for digest in digests)


def test_short_reports_leave_budget() -> None:
    """Short reports leave their part of the budget to long ones."""

    def say(request: Request) -> Any:
        match request.metadata["node"]:
            case "web":
                return Report(text="x" * 9000 if "long" in asked(request) else "short")
            case "plan":
                return Plan(tasks=[Task(text="long"), Task(text="other"), Task(text="third")])
            case _:
                return "done"

    result = run(office(digest_tokens=2000).build(), Models(say))
    assert [len(note) > 5000 for note in result.state.notes] == [True, False, False]
    assert "tokens left out" in result.state.notes[0]


# ---- order ---------------------------------------------------------------------------------------
def timed(log: list[str]) -> dict[Who, Any]:
    @node
    async def web(ctx: Context, t: Task) -> Report:
        log.append(f"+{t.id}")
        await asyncio.sleep(1)
        log.append(f"-{t.id}")
        return Report(text=t.id)

    return {"web": web, "paper": web.named("paper")}


def test_tasks_run_in_waves() -> None:
    """Tasks that do not wait run at once, and the others in order."""
    log: list[str] = []
    tasks = (
        Task(text="c", id="c", needs=["a", "b"]),
        Task(text="a", id="a"),
        Task(text="b", id="b", worker="paper"),
        Task(text="d", id="d", needs=["c"]),
    )
    result = run(office(planner_of(*tasks), timed(log)).build(), planning([]))
    assert result.seconds == pytest.approx(3, abs=0.01)
    assert sorted(log[:2]) == ["+a", "+b"]
    assert log[4:] == ["+c", "-c", "+d", "-d"]
    assert result.state.notes == ["c", "a", "b", "d"]  # in the order of the plan


def test_worker_prompt_holds_known_reports() -> None:
    """The prompt of a worker has the reports that its task waited for."""
    models = planning(
        [Task(text="tables", id="a"), Task(text="summary", id="b", needs=["a"], worker="paper")]
    )
    run(office().build(), models)
    assert asked(models.of("web")[0]) == "Search: tables"
    prompt = asked(models.of("paper")[0])
    assert prompt.startswith("Read: summary\nWhat was found before:\n\na:\n")
    assert "found: Search: tables" in prompt


def test_worker_may_be_a_flow() -> None:
    """A flow may be a worker."""

    class Desk(Task, Notes): ...

    @node
    def skim(t: Task) -> Notes:
        return Notes(notes=[f"skimmed {t.text}"])

    desk = Graph("desk", Desk, input=Task, output=Notes).chain(skim).build()

    @node(name="other")
    def other(t: Task) -> Notes:
        return Notes(notes=[f"did {t.text}"])

    graph = Graph("office", Office, input=Goal, output=Notes)
    graph.supervisor(
        planner_of(Task(text="a"), Task(text="b", worker="paper")),
        tasks=tasks_of,
        worker_of=worker_of,
        workers={"web": desk, "paper": other},
        gather=all_notes,
        max_tasks=4,
    )
    result = run(graph.build())
    assert result.output.notes == ["skimmed a", "did b"]
    assert {"plan_web[0]/skim", "plan_paper[0]/other"} <= {step.path for step in result.steps}


def all_notes(reports: list[Notes]) -> Notes:
    return Notes(notes=[line for notes in reports for line in notes.notes])


# ---- declining -----------------------------------------------------------------------------------
def test_worker_declines_by_report() -> None:
    """A worker may decline by its report, and the planner reads why."""
    first = [Task(text="charts"), Task(text="tables")]
    models = planning(first, [Task(text="charts", worker="paper")], declining=["Search: charts"])
    result = run(office().build(), models)
    again = asked(models.of("plan")[1])
    assert again.startswith("Plan: tides\nPlan anew: these tasks were declined.")
    assert "'web' declined: Search: charts is not for me" in again
    assert "These are done; do not plan them again." in again
    assert result.state.notes == ["found: Search: tables", "found: Read: charts"]
    assert [len(models.of(name)) for name in ("plan", "web", "paper", "assemble")] == [2, 2, 1, 1]


def test_function_declines_by_raising() -> None:
    @node(name="web")
    def picky(t: Task) -> Report:
        raise Declined("no network here")

    @node(name="paper")
    async def reader(t: Task) -> Report:
        return Report(text=f"read {t.text}")

    @node(name="plan")
    def planner(g: Goal, f: Feedback) -> Plan:
        return Plan(
            tasks=[
                Task(text="charts", worker="paper" if "no network here" in f.feedback else "web")
            ]
        )

    result = run(office(planner, {"web": picky, "paper": reader}, Told).build(), planning([]))
    assert result.state.notes == ["read charts"]


def test_replan_keeps_done_tasks() -> None:
    """A new plan may name tasks that are done, and they do not run again."""
    first = [Task(text="charts"), Task(text="tables")]
    models = planning(
        first,
        [Task(text="charts", worker="paper"), Task(text="tables")],
        declining=["Search: charts"],
    )
    run(office().build(), models)
    assert [len(models.of(name)) for name in ("web", "paper")] == [2, 1]


def test_task_declined_twice_fails() -> None:
    """A task that is declined again ends the run in plain words."""
    models = planning([Task(text="charts")], declining=["charts"])
    failed = failure(office().build().run(Goal(goal="tides"), client=models))
    error = cause(failed)
    assert isinstance(error, TasksDeclined)
    assert error.reasons == {"1": "'web' declined: charts is not for me"}
    declined = "1 of the tasks of 'plan' were declined after 1 replan: 1: 'web' declined:"
    assert f"{declined} charts is not for me." in str(failed)
    assert len(models.of("plan")) == 2


def test_decline_without_replans_fails() -> None:
    """Without replans a declined task ends the run at once."""
    models = planning([Task(text="charts")], declining=["charts"])
    assert isinstance(
        cause(failure(office(replans=0).build().run(Goal(goal="tides"), client=models))),
        TasksDeclined,
    )
    assert len(models.of("plan")) == 1


def test_waiting_tasks_are_replanned() -> None:
    """Tasks that waited for a declined one are planned again with it."""
    first = [Task(text="charts", id="a"), Task(text="sum", id="b", needs=["a"])]
    second = [Task(text="charts", id="a", worker="paper"), Task(text="sum", id="b", needs=["a"])]
    models = planning(first, second, declining=["Search: charts"])
    result = run(office().build(), models)
    assert "These could not begin; plan them too" in asked(models.of("plan")[1])
    assert len(result.state.notes) == 2


# ---- plans that cannot be carried out ------------------------------------------------------------
@pytest.mark.parametrize(
    ("tasks", "expected"),
    [
        ([], "The plan of 'plan' is empty"),
        ([Task(text="a", id="x"), Task(text="b", id="x")],
         "has the task Task(worker='web', text='b', id='x', needs=[]) twice"),
        ([Task(text="a"), Task(text="a")], "twice. Let it plan each task once"),
        ([Task(text="a", id="a", needs=["b"]), Task(text="b", id="b", needs=["c"]),
          Task(text="c", id="c", needs=["a"])],
         "has a cycle: a waits for b waits for c waits for a."),
        ([Task(text="a", id="a", needs=["a"])], "has a cycle: a waits for a."),
        ([Task(text="a", id="a", needs=["z"])], "task 'a' waits for 'z'. Known: a."),
    ],
)  # fmt: skip
def test_impossible_plan_refused(tasks: list[Task], expected: str) -> None:
    """A plan that cannot be carried out is refused in plain words before a worker starts."""
    models = planning(tasks)
    failed = failure(office().build().run(Goal(goal="tides"), client=models))
    assert isinstance(cause(failed), PlanRefused)
    assert expected in str(failed)
    assert not models.of("web")


def test_too_many_tasks_refused() -> None:
    """More tasks than allowed are refused."""
    failed = failure(
        office(max_tasks=2)
        .build()
        .run(Goal(goal="tides"), client=planning([Task(text=str(number)) for number in range(3)]))
    )
    assert isinstance(cause(failed), TooManyItems)
    assert "has 3 tasks, and max_tasks is 2" in str(failed)


def test_plan_names_worker_twice() -> None:
    """A plan may name a worker twice."""
    models = planning([Task(text="a"), Task(text="b"), Task(text="c")])
    assert len(run(office().build(), models).state.notes) == 3
    assert len(models.of("web")) == 3


def nobody(t: Task) -> Who:
    nowhere: Any = "moon"
    return nowhere


def test_unknown_worker_refused() -> None:
    """A task for a worker that does not exist is refused."""
    graph = Graph("office", Office, input=Goal, output=Answer)
    graph.supervisor(
        plan,
        tasks=tasks_of,
        worker_of=nobody,
        workers=WORKERS,
        gather=collect,
        max_tasks=3,
        assemble=assemble,
    )
    failed = failure(graph.build().run(Goal(goal="tides"), client=planning([Task(text="a")])))
    assert "to 'moon'. " in str(failed)
    assert "Known: paper, web." in str(failed)


def vague(t: Task) -> str:
    return t.worker


def unannotated(reports):  # type: ignore[no-untyped-def]
    return Notes()


def test_supervisor_problems_are_reported() -> None:
    """A supervisor that cannot work does not build."""
    assert "SUPERVISOR_WORKERS" in codes(office(workers={"web": web}).build)
    assert "SUPERVISOR_BOUND" in codes(office(max_tasks=0).build)
    assert "SUPERVISOR_BOUND" in codes(office(replans=-1).build)
    assert "SUPERVISOR_GATHER" in codes(office(gather=unannotated).build)
    extra: Any = {**WORKERS, "moon": web}
    assert "SUPERVISOR_WORKERS" in codes(office(workers=extra).build)
    free: Any = vague
    graph = Graph("office", Office, input=Goal, output=Answer)
    graph.supervisor(
        plan, tasks=tasks_of, worker_of=free, workers=WORKERS, gather=collect, max_tasks=3
    )
    assert "SUPERVISOR_WORKERS" in codes(graph.build)

    @node
    def both(t: Task, g: Goal) -> Report:
        return Report(text="")

    assert "MAP_WORKER" in codes(office(workers={"web": web, "paper": both}).build)


def test_failed_worker_names_its_path() -> None:
    """A failed worker fails the run with its path."""

    @node(name="paper")
    def torn(t: Task) -> Report:
        raise RuntimeError("the page is torn")

    models = planning([Task(text="a"), Task(text="b", worker="paper")])
    failed = failure(
        office(workers={"web": web, "paper": torn}).build().run(Goal(goal="tides"), client=models)
    )
    assert "plan_paper[0]/paper" in str(failed)
    assert "the page is torn" in str(failed)


def test_supervisor_entered_again_begins_anew() -> None:
    """A supervisor begins anew when it is entered again."""
    plans = [[Task(text="a")], [Task(text="b"), Task(text="c")]]
    models = planning(*plans)
    graph = office()

    @node
    def head(g: Goal) -> None: ...

    graph.chain(head, plan).loop(
        assemble, back_to=head, while_=lambda s: len(s.notes) < 2, max_iterations=3
    )
    result = run(graph.build(), models)
    assert result.state.notes == ["found: Search: b", "found: Search: c"]


def test_supervisor_builds_and_draws() -> None:
    """The supervisor builds without a warning and can be drawn."""
    for options in ({}, {"replans": 0}, {"state": Told}, {"max_tasks": 1}):
        flow = office(**options).build()  # type: ignore[arg-type]
        assert [problem for problem in flow.warnings if problem.code != "UNREAD_WRITE"] == []
        assert "plan_web" in flow.svg()


def test_events_carry_worker_paths() -> None:
    """Events show every worker under its path."""
    events: list[RunEvent] = []
    run(office().build(), planning([Task(text="a"), Task(text="b")]), watch=[events.append])
    assert {"plan_web[0]/web", "plan_web[1]/web"} <= {
        getattr(event, "path", "") for event in events
    }


@node(isolation="process", name="paper")
def apart(t: Task) -> Report:
    return Report(text=f"apart {t.text}")


def test_process_worker_takes_bare_task() -> None:
    """A worker in another process gets the bare task and stays findable."""
    graph = office(workers={"web": web, "paper": apart})
    flow = graph.build()
    spec = graph.spec.maps["plan_paper"]
    assert spec.worker is apart
    assert spec.item is Task
    assert flow.warnings == ()

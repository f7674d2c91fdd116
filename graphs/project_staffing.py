"""A project staffed across departments: a lead splits the brief, departments propose people.

    graphorch run graphs/project_staffing.py
    graphorch run graphs/project_staffing.py --brief @brief.md --roster @people.csv

The lead is a supervisor. Its tasks are typed: a department that does not exist cannot get one, and
finance, which has to know the needs of the others, begins when their proposals are there. A
department without people declines, and the lead plans once more with the reason in its prompt. The
plan is assembled from digests: 1,500 tokens for all proposals together, however long they are.

Offline no language model plans: the embedded model gives each department the sentences of the brief
that speak of its work, and its proposals quote them.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field

from graphorch import END, Flow, Graph, agent, node

Department = Literal["engineering", "software", "legal", "communication", "finance"]
DEPARTMENTS: tuple[Department, ...] = (
    "engineering",
    "software",
    "legal",
    "communication",
    "finance",
)


class Brief(BaseModel):
    brief: str = Field(min_length=1, description="what the project is")
    roster: str = Field(
        min_length=1, description="CSV with the columns name, team, skills, free from, days a week"
    )


class Work(BaseModel):
    """What each department has to do; "" if it has nothing to do."""

    engineering: str = Field(
        default="",
        description="gauges, electronics, housing, radio, sites, prototype, installation",
    )
    software: str = Field(
        default="", description="web page, service, messages, forecast, model, software, warning"
    )
    legal: str = Field(
        default="",
        description="contracts, access, licence, owners, municipalities, data protection",
    )
    communication: str = Field(
        default="", description="people, open day, leaflet, household, schools, teachers"
    )
    finance: str = Field(
        default="", description="budget, state, grant, advance, purchase, tender, money"
    )


class Task(BaseModel):
    """Part of a department; `needs` are the tasks that must be done before it."""

    id: Department
    work: str
    people: list[str] = []
    needs: list[Department] = []


class Proposal(BaseModel):
    proposal: str = ""
    declined: str = Field(default="", description="why the department cannot do it")


class Names(BaseModel):
    names: str = ""


class Proposals(BaseModel):
    proposals: list[str] = []


class Staffing(BaseModel):
    staffing: str


class Desk(Task, Names, Proposal): ...


class Project(Brief, Work, Proposals, Staffing): ...


@agent(
    output=Work,
    instructions=(
        "You lead projects. You tell each department what it has to do, in the words of the brief."
    ),
    max_tokens=1_500,
    timeout=60,
)
def plan(brief: Brief) -> str:
    return f"Say for each department what it has to do.\n\nBrief:\n{brief.brief}"


def tasks_of(brief: Brief, work: Work) -> list[Task]:
    """Return a task for each department that has work; finance needs the work of all others."""
    people = list(csv.DictReader(io.StringIO(brief.roster)))
    given: list[Department] = [name for name in DEPARTMENTS if getattr(work, name)]
    tasks: list[Task] = []
    for name in given:
        own = [
            f"{item['name']}: {item['skills']}; "
            f"free from {item['free from']}, {item['days a week']} days"
            for item in people
            if item["team"] == name
        ]
        needs: list[Department] = [other for other in given if name == "finance" and other != name]
        tasks.append(Task(id=name, work=getattr(work, name), people=own, needs=needs))
    return tasks


def department_of(task: Task) -> Department:
    return task.id


@node
def check_people(task: Task) -> Proposal:
    return Proposal(declined="" if task.people else f"{task.id} has nobody on the roster")


@agent(
    output=Names,
    instructions=(
        "You lead a department. You propose people by name, with the reason, "
        "and say what is missing."
    ),
    max_tokens=800,
    timeout=60,
)
def propose(task: Task) -> str:
    people = "\n".join(f"- {text}." for text in task.people)
    return f"List the people that this needs, and why.\n\nPeople:\n{people}\n\nTask: {task.work}"


@node
def sign(task: Task, names: Names) -> Proposal:
    return Proposal(proposal=f"## {task.id}\n\nHas to do: {task.work}\n\n{names.names}")


@node
def assemble(brief: Brief, proposals: Proposals) -> Staffing:
    title = brief.brief.strip().splitlines()[0].lstrip("# ")
    return Staffing(staffing="\n\n".join([f"# Staffing: {title}", *proposals.proposals]))


def gathered(items: list[Proposal]) -> Proposals:
    return Proposals(proposals=[proposal.proposal for proposal in items])


def is_staffed(proposal: Proposal) -> Literal["yes", "no"]:
    return "no" if proposal.declined else "yes"


desk = Graph("department", Desk, input=Task, output=Proposal).chain(propose, sign, END)
desk.route(check_people, is_staffed).when("yes", propose).when("no", END).exhaustive()
department = desk.build()
workers: dict[Department, Flow[Task, Proposal, Desk]] = dict.fromkeys(DEPARTMENTS, department)
graph = Graph("project_staffing", Project, input=Brief, output=Staffing)
graph.supervisor(
    plan,
    tasks=tasks_of,
    worker_of=department_of,
    workers=workers,
    gather=gathered,
    max_tasks=5,
    assemble=assemble,
    digest_tokens=1_500,
)
flow = graph.build()
FILES = Path(__file__).with_name("samples")
sample = Brief(
    brief=FILES.joinpath("project_brief.md").read_text("utf-8"),
    roster=FILES.joinpath("roster.csv").read_text("utf-8"),
)


if __name__ == "__main__":
    print(f"Run this flow with: graphorch run {__file__}")

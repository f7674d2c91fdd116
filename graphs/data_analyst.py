"""An analyst over the database of a shop: it queries, draws, and flags orders once you approve.

    graphorch run graphs/data_analyst.py --durable
    graphorch answer graphs/data_analyst.py last 'analyse/r4/flag_order#0' yes
    graphorch run graphs/data_analyst.py --question "Which customers do we lose?"

The shop is a SQLite file with made-up orders of half a year, and one planted mistake. It is written
at the first use, into the folder for temporary files or to the path in SHOP_DATABASE. Queries are
written by a model, so they run where they can only read, for two seconds, and give 200 rows at most
(`sample_shop/database.py`). Every claim of the answer comes with the query that proves it: it runs
once more, and a figure that the query does not give is reported as not proved. Flagging an order
is the only tool that writes: it waits until a person approves the order and the reason, and happens
once.

Offline there is no language model, and the embedded one does not write SQL. It makes the calls that
the `steps` of the sample write out, and where an answer proves nothing, the prepared findings of
the sample take its place, which the report says. What you see then is the tools, the approval and
the proof at work, not the skill of a model.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from uuid import uuid4

from pydantic import BaseModel, Field
from sample_shop import (
    QueryRefused,
    Rows,
    ShopError,
    add_flag,
    describe_tables,
    draw_chart,
    find_database,
    run_query,
)

from graphorch import Graph, agent, node, tool

SHOWN = 8  # rows of a query in the report


class Finding(BaseModel):
    claim: str = Field(description="one sentence; its figures are those that the query gives")
    sql: str = Field(description="the SELECT statement that proves the claim")


class Question(BaseModel):
    question: str = Field(min_length=1, description="what you want to know about the shop")
    steps: str = Field(default="", description="tool calls for the embedded model, one a line")
    prepared: list[Finding] = Field(default=[], description="for answers that prove nothing")


class Findings(BaseModel):
    findings: list[Finding] = []


class Report(BaseModel):
    report: str


class Analysis(Question, Findings, Report): ...


@tool(effect="pure")
def tables() -> str:
    """Return the tables of the shop as SQL, with the number of their rows."""
    return describe_tables(find_database())


@tool(effect="pure", tells=ShopError)
def query(sql: str) -> Rows:
    """Run one SELECT statement of SQLite, and return its columns and at most 200 rows."""
    return run_query(find_database(), sql)


@tool(effect="idempotent", tells=ShopError)
def chart(title: str, sql: str) -> str:
    """Draw bars into a file: the query gives a label and a number for each of up to 40 bars."""
    rows = run_query(find_database(), sql).rows
    try:
        bars = [(str(label), float(value)) for label, value in rows]
        svg = draw_chart(title, bars)
    except (TypeError, ValueError) as error:
        raise QueryRefused(f"These rows are no chart of labels and numbers: {error}") from None
    name = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")[:60] or "chart"
    folder = find_database().with_suffix(".charts")
    folder.mkdir(exist_ok=True)
    draft = folder / f".{uuid4().hex}"
    draft.write_text(svg, "utf-8")
    draft.replace(folder / f"{name}.svg")
    return f"{len(bars)} bars are drawn in {folder / name}.svg"


@tool(effect="once", approve=True, tells=ShopError)
def flag_order(order_id: int, reason: str) -> str:
    """Flag an order for the people in sales, with the reason in one sentence."""
    return f"Order {order_id} has flag {add_flag(find_database(), order_id, reason)}."


@node
def open_shop(question: Question) -> None:
    """Make the shop at its first use, or fail before a model is asked."""
    find_database()


@agent(
    output=Findings,
    tools=[tables, query, chart, flag_order],
    instructions=(
        "You analyse the data of a shop. You look before you answer, compute in SQL and never in "
        "your head, and claim only what a query shows. You flag orders that people should look at."
    ),
    max_tokens=2_000,
)
def analyse(question: Question) -> str:
    steps = f"\n\nSteps:\n{question.steps}" if question.steps else ""
    return f"Question: {question.question}{steps}"


@node
def prove(question: Question, findings: Findings) -> Report:
    checked = [check(finding) for finding in findings.findings]
    by = ""
    if question.prepared and not any(is_proved for is_proved, _ in checked):
        checked = [check(finding) for finding in question.prepared]
        by = "\n\nThe findings were prepared: the model's answer held none that its query proves."
    chapters = [text for _, text in sorted(checked, key=lambda item: not item[0])]
    body = "\n\n".join(chapters) or "The analyst found nothing."
    return Report(report=f"# {question.question}{by}\n\n{body}")


def check(finding: Finding) -> tuple[bool, str]:
    """Return whether the query of a finding proves it, and its chapter of the report."""
    try:
        rows = run_query(find_database(), finding.sql)
        missing = find_missing_figures(finding.claim, rows)
        doubt = f"its query does not give {', '.join(missing)}" if missing else ""
        if not rows.rows:
            doubt = "its query gives no rows"
    except ShopError as error:
        rows, doubt = Rows((), ()), str(error)
    claim, sql = " ".join(finding.claim.split()), finding.sql.strip()
    title = f"## Not proved: {claim}\n\nReason: {doubt}" if doubt else f"## {claim}"
    fence = "```" if "```" not in sql else "`" * (len(sql) + 1)
    return not doubt, f"{title}\n\n{write_table(rows)}{fence}sql\n{sql}\n{fence}"


def find_missing_figures(claim: str, rows: Rows) -> list[str]:
    """Return the numbers of a claim that are neither in the rows, rounded, nor their count."""
    values = [value for row in rows.rows for value in row]
    texts = " ".join(str(value) for value in values if isinstance(value, str))
    numbers = [float(value) for value in values if isinstance(value, int | float)]
    missing: list[str] = []
    for figure in re.findall(r"\d[\d,]*(?:\.\d+)?(?:-\d+)*", claim):
        plain = figure.replace(",", "")
        if re.search(rf"(?<!\d){re.escape(plain)}(?!\d)", texts) or plain == str(len(rows.rows)):
            continue
        decimals = len(plain.partition(".")[2])
        if not any(f"{abs(number):.{decimals}f}" == plain for number in numbers):
            missing.append(figure)
    return missing


def write_table(rows: Rows) -> str:
    """Return the first rows as a table, or "" if there are none."""
    if not rows.rows:
        return ""
    lines = [rows.columns, ["---"] * len(rows.columns), *rows.rows[:SHOWN]]
    table = "\n".join("| " + " | ".join(write_cell(cell) for cell in line) + " |" for line in lines)
    is_cut = rows.is_cut or len(rows.rows) > SHOWN
    return f"{table}\n\n" + (f"The first {SHOWN} rows.\n\n" if is_cut else "")


def write_cell(value: Any) -> str:
    return " ".join(str(value).replace("|", "\\|").split())


graph = Graph("data_analyst", Analysis, input=Question, output=Report)
flow = graph.chain(open_shop, analyse, prove).build()
SAMPLES = Path(__file__).with_name("samples")
sample = Question.model_validate_json(SAMPLES.joinpath("shop_question.json").read_text("utf-8"))


if __name__ == "__main__":
    print(f"Run this flow with: graphorch run {__file__}")

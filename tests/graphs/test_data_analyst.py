"""The analyst: its tools tell what they refuse, and a claim counts only if its query proves it."""

from __future__ import annotations

import asyncio
import contextlib
import shlex
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from graphorch import Approval, InputError, ToolApproval
from graphorch.cli.app import main
from graphorch.cli.flow_loader import load_flow, load_module
from graphorch.journal.memory import MemoryStore
from graphorch.testing import (
    RecordedRun,
    ScriptedModel,
    call,
    recorded_tools,
    tool_results,
    with_tools,
)

PATH = str(Path(__file__).parents[2] / "graphs" / "data_analyst.py")
loaded = load_flow(PATH)
flow: Any = loaded.flow
sample: Any = loaded.sample
analyst: Any = load_module(PATH)[0]

COUNT = "SELECT country, count(*) AS customers FROM customers GROUP BY country ORDER BY country"


@pytest.fixture(autouse=True)
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A shop of its own for each test."""
    place = tmp_path / "shop.sqlite"
    monkeypatch.setenv("SHOP_DATABASE", str(place))
    return place


def finding(claim: str, sql: str = COUNT) -> Any:
    return analyst.Finding(claim=claim, sql=sql)


def flags(shop: Path) -> list[Any]:
    with contextlib.closing(sqlite3.connect(shop)) as connection:
        return connection.execute("SELECT order_id, reason FROM flags ORDER BY flag_id").fetchall()


REASON = "40 tents were sold at EUR 2.49 instead of 249.00"
FLAG = "analyse/r4/flag_order#0"


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """No endpoint, so that the embedded model answers."""
    for name in ("OPENAI_BASE_URL", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)


async def decide(decision: Any, durable: Any) -> Any:
    """Run the sample until it waits, and go on with a decision about its flag."""
    waiting = await flow.run(sample, run_id="r", durable=durable)
    assert [item.path for item in waiting.questions] == [FLAG]
    return await flow.answer("r", FLAG, decision, durable=durable)


def test_sample_finds_planted_mistake(shop: Path, offline: None) -> None:
    """Offline the tools run, the chart is drawn, and every prepared finding is proved."""
    result = asyncio.run(decide(Approval(approved=True), MemoryStore()))
    report = result.output.report
    assert "The findings were prepared: the model's answer held none" in report
    assert "| 1492 | 2026-05-12 | Dana Costa | Trail Tent 2 | 40 | 2.49 | 249.0 |" in report
    assert "Not proved" not in report
    assert report.count("```sql") == 3
    (chart,) = shop.with_suffix(".charts").iterdir()
    assert chart.name == "revenue-by-month-in-eur.svg"
    assert chart.read_text("utf-8").count('class="bar"') == 6
    assert flags(shop) == [(1492, REASON)]


def test_flag_waits_for_person(shop: Path, offline: None) -> None:
    """Nothing is written before the approval, and nothing twice: not by a replay either."""

    async def main() -> None:
        store = MemoryStore()
        waiting = await flow.run(sample, run_id="r", durable=store)
        (question,) = waiting.questions
        assert f'"reason": "{REASON}"' in question.text
        assert flags(shop) == []
        await flow.answer("r", question, Approval(approved=True), durable=store)
        with pytest.raises(InputError, match="not open"):
            await flow.answer("r", question, Approval(approved=True), durable=store)
        await flow.replay("r", durable=store)
        assert flags(shop) == [(1492, REASON)]

    asyncio.run(main())


@pytest.mark.parametrize(
    "decision, expected",
    [
        (Approval(approved=False, reason="known already"), []),
        (ToolApproval(approved=False, answer="Sales know it."), []),
        (
            ToolApproval(approved=True, arguments={"order_id": 1494, "reason": "two tents"}),
            [(1494, "two tents")],
        ),
    ],
    ids=["refused", "answered", "edited"],
)
def test_person_decides_about_flag(decision: Any, expected: Any, shop: Path, offline: None) -> None:
    """A refusal and an answer write nothing; what a person changed is what is written."""
    result = asyncio.run(decide(decision, MemoryStore()))
    assert result.status == "succeeded"
    assert flags(shop) == expected


def test_edited_flag_is_checked(shop: Path, offline: None) -> None:
    """Arguments of a person have to fit the tool, and the question stays open if they do not."""
    wrong = ToolApproval(approved=True, arguments={"order_id": "many", "reason": "x"})
    with pytest.raises(InputError, match="order_id"):
        asyncio.run(decide(wrong, MemoryStore()))
    assert flags(shop) == []


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 0, 1]])
def test_flags_are_written_in_order_of_model(order: list[int], shop: Path, tmp_path: Path) -> None:
    """Several flags are approved in any order, each in a process of its own, and written once."""
    numbers = (1488, 1492, 1494)
    calls = [call("flag_order", {"order_id": number, "reason": "price"}) for number in numbers]
    model, journal = ScriptedModel(calls, analyst.Findings()), tmp_path / "runs.sqlite"
    question = analyst.Question(question="Why?")
    result = flow.run_sync(question, run_id="r", durable=journal, client=model)
    for index in order:
        path = f"analyse/r1/flag_order#{index}"
        yes = Approval(approved=True)
        result = asyncio.run(flow.answer("r", path, yes, durable=journal, client=model))
    assert result.status == "succeeded"
    assert flags(shop) == [(number, "price") for number in numbers]


def test_command_line_asks_and_takes_answer(
    shop: Path, offline: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`graphorch run` ends with the command that answers, and that command flags the order."""

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        captured = capsys.readouterr()
        return int(ended.value.code or 0), captured.out, captured.err

    code, _, told = run("run", PATH, "--db", str(tmp_path / "runs.sqlite"))
    assert code == 4
    command = next(line for line in told.splitlines() if "graphorch answer" in line)
    code, output, told = run(*shlex.split(command)[1:])
    assert code == 0, told
    assert output.startswith("# Is anything wrong with our prices this year?")
    assert flags(shop) == [(1492, REASON)]


def test_run_of_sample_is_a_fixture(shop: Path, offline: None, tmp_path: Path) -> None:
    """A recorded run plays from a file without model, tools, or shop to look into."""

    async def main() -> None:
        store = MemoryStore()
        await decide(Approval(approved=True), store)
        (await RecordedRun.read("r", durable=store)).save(tmp_path / "run.json")

    asyncio.run(main())
    run = RecordedRun.load(tmp_path / "run.json")
    played = with_tools(flow, *recorded_tools(run))

    async def play() -> Any:
        with ScriptedModel(run) as model:
            store = MemoryStore()
            await played.run(
                analyst.Question.model_validate(run.input), run_id="p", durable=store, client=model
            )
            yes = Approval(approved=True)
            return await played.answer("p", FLAG, yes, durable=store, client=model)

    assert "Trail Tent 2" in asyncio.run(play()).output.report
    assert flags(shop) == [(1492, REASON)]


@pytest.mark.parametrize(
    "claim, missing",
    [
        ("Customers come from Germany.", []),
        ("There are 6 countries.", []),
        ("34 customers are from DE.", []),
        ("We have 999 customers in DE.", ["999"]),
        ("34 of 38 customers are from DE.", ["38"]),
        ("A share of 41.1 % is from DE.", ["41.1"]),
    ],
)
def test_figures_of_claims_are_in_rows(claim: str, missing: list[str]) -> None:
    """A number of a claim is a value of the query, or the count of its rows."""
    rows = analyst.run_query(analyst.find_database(), COUNT)
    assert analyst.find_missing_figures(claim, rows) == missing


@pytest.mark.parametrize(
    "claim, missing",
    [
        ("Revenue was 1,234.57.", []),
        ("Revenue was 1234.6, or 1,235.", []),
        ("Revenue was 1,234.", ["1,234"]),
        ("The Tent 2 lost 12 on 2026-05-12.", []),
        ("It was on 2026-05-13.", ["2026-05-13"]),
        ("The Tent 20 lost.", ["20"]),
        ("It lost 0.5.", ["0.5"]),
    ],
)
def test_figures_are_compared_as_written(claim: str, missing: list[str]) -> None:
    """Numbers may be rounded; dates and digits of names are texts of the query."""
    rows = analyst.Rows(("a", "b", "c", "d"), (("Tent 2", 1234.5678, "2026-05-12", -12),))
    assert analyst.find_missing_figures(claim, rows) == missing


@pytest.mark.parametrize(
    "given, reason",
    [
        (("There are 7 customers.", COUNT), "its query does not give 7"),
        (("All is well.", "SELECT 1 WHERE 0"), "its query gives no rows"),
        (("All is well.", "SELECT * FROM nope"), "no such table: nope"),
        (("All is well.", "DELETE FROM orders"), "may only read"),
        (("All is well.", ""), "holds no query"),
    ],
)
def test_unproved_finding_is_marked(given: tuple[str, str], reason: str) -> None:
    is_proved, text = analyst.check(finding(*given))
    assert not is_proved
    assert text.startswith(f"## Not proved: {given[0]}\n\nReason: ")
    assert reason in text


def test_proved_findings_come_first() -> None:
    """Findings of a model are not replaced if one of them is proved."""
    answer = analyst.Findings(findings=[finding("There are 7."), finding("34 are from DE.")])
    with ScriptedModel(answer) as model:
        report = flow.run_sync(sample, client=model).output.report
    assert report.index("## 34 are from DE.") < report.index("## Not proved: There are 7.")
    assert "prepared" not in report


def test_no_finding_is_said() -> None:
    with ScriptedModel(analyst.Findings(findings=[])) as model:
        result = flow.run_sync(analyst.Question(question="Why?"), client=model)
    assert result.output.report == "# Why?\n\nThe analyst found nothing."


def test_chapter_cannot_be_broken_by_finding() -> None:
    """A claim stays on its line, and SQL within its fence, whatever a model writes into them."""
    sql = "SELECT 1 -- ```\n/* # no heading */"
    _, text = analyst.check(finding("One.\n\n# Another", sql))
    lines = text.splitlines()
    assert lines[0] == "## One. # Another"
    fence = lines[-1]
    assert set(fence) == {"`"}
    assert lines[-4:] == [f"{fence}sql", *sql.splitlines(), fence]
    assert fence not in sql


def test_charts_of_one_title_are_drawn_at_once(shop: Path) -> None:
    """Calls of one round run side by side: the file is always one of the charts."""
    find = "SELECT 'a', 1"
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: analyst.chart("same", find), range(40)))
    (path,) = shop.with_suffix(".charts").iterdir()
    assert path.read_text("utf-8").endswith("</svg>\n")


def test_question_without_steps_ends_honestly(offline: None) -> None:
    """The embedded model cannot answer other questions, and the report does not pretend it."""
    result = flow.run_sync(analyst.Question(question="Which customers do we lose?"))
    assert result.status == "succeeded"
    report = result.output.report
    assert "nothing" in report or "## Not proved" in report
    assert "prepared" not in report


def test_table_cannot_be_broken_by_values() -> None:
    """Bars and line ends in values stay within their cell, and a cut table says so."""
    rows = analyst.Rows(("a|b",), tuple((f"{n} |\n x",) for n in range(9)))
    lines = analyst.write_table(rows).splitlines()
    assert lines[:3] == ["| a\\|b |", "| --- |", "| 0 \\| x |"]
    assert lines[-2] == "The first 8 rows."


@pytest.mark.parametrize(
    "sql, reason",
    [
        ("SELECT 1", "no chart of labels and numbers"),
        ("SELECT 'a', 'b'", "no chart of labels and numbers"),
        ("SELECT 'a', NULL", "no chart of labels and numbers"),
        ("SELECT order_id, 1 FROM orders", "1 to 40 bars, not 200"),
        ("SELECT 'a', 9e999", "not a finite number"),
        ("DELETE FROM orders", "may only read"),
    ],
)
def test_impossible_chart_is_explained(sql: str, reason: str) -> None:
    with pytest.raises(analyst.ShopError, match=reason):
        analyst.chart("t", sql)


def test_chart_stays_in_its_folder(shop: Path) -> None:
    """A title never leads out of the folder, and an equal one replaces its file."""
    for title in ("../../x", "/etc/passwd", "日本", "", "a" * 500, "A b"):
        analyst.chart(title, "SELECT 'a', 1")
        analyst.chart(title, "SELECT 'a', 2")
    names = sorted(path.name for path in shop.with_suffix(".charts").iterdir())
    assert names == ["a-b.svg", f"{'a' * 60}.svg", "chart.svg", "etc-passwd.svg", "x.svg"]


def test_model_reads_why_query_was_refused() -> None:
    """A refused query goes back to the model as one sentence, and the analysis goes on."""
    asked: list[str] = []

    def answer(request: Any) -> Any:
        asked.extend(tool_results(request))
        return analyst.Findings(findings=[finding("34 are from DE.")])

    with ScriptedModel(call("query", {"sql": "DROP TABLE orders"}), answer) as model:
        flow.run_sync(sample, client=model)
    assert asked == [
        "Error: 'query' raised QueryRefused: A query may only read the tables of the shop, "
        "and not use 'sqlite_master'. Write one SELECT statement with the usual functions."
    ]

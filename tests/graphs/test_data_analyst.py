"""The analyst: its tools tell what they refuse, and a claim counts only if its query proves it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from graphorch.cli.flow_loader import load_flow, load_module
from graphorch.models.messages import Request, Response, ToolCall, Usage
from graphorch.testing import ScriptedModel

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


def test_sample_finds_planted_mistake(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Offline the tools run, the chart is drawn, and every prepared finding is proved."""
    for name in ("OPENAI_BASE_URL", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    result = flow.run_sync(sample)
    report = result.output.report
    assert "The findings were prepared: the model's answer held none" in report
    assert "| 1492 | 2026-05-12 | Dana Costa | Trail Tent 2 | 40 | 2.49 | 249.0 |" in report
    assert "Not proved" not in report
    assert report.count("```sql") == 3
    (chart,) = shop.with_suffix(".charts").iterdir()
    assert chart.name == "revenue-by-month-in-eur.svg"
    assert chart.read_text("utf-8").count('class="bar"') == 6


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

    def ask(request: Request) -> Response:
        call = ToolCall(id="1", name="query", arguments='{"sql": "DROP TABLE orders"}')
        return Response(
            "", "m", Usage(1, 1), 0, "free", "tool_calls", 1, 0, None, tool_calls=(call,)
        )

    def answer(request: Request) -> Any:
        asked.append(request.messages[-1].content)
        return analyst.Findings(findings=[finding("34 are from DE.")])

    with ScriptedModel(ask, answer) as model:
        flow.run_sync(sample, client=model)
    assert asked == [
        "Error: 'query' raised QueryRefused: A query may only read the tables of the shop, "
        "and not use 'sqlite_master'. Write one SELECT statement with the usual functions."
    ]

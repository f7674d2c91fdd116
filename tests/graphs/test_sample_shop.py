"""The sample shop: its data are equal everywhere, and no query of a model changes or hangs it."""

from __future__ import annotations

import re
import sqlite3
import threading
import time
import xml.etree.ElementTree as ElementTree
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from graphorch.cli.flow_loader import load_flow

load_flow(
    str(Path(__file__).parents[2] / "graphs" / "data_analyst.py")
)  # puts its folder on the path
import sample_shop.database as database  # pyright: ignore[reportMissingImports] # noqa: E402
from sample_shop import (  # pyright: ignore[reportMissingImports] # noqa: E402
    NoSuchOrder,
    QueryRefused,
    ShopError,
    add_flag,
    describe_tables,
    draw_chart,
    find_database,
    run_query,
)

WRONG_PRICES = (
    "SELECT order_id, quantity, unit_price FROM order_lines JOIN products USING (product_id) "
    "WHERE unit_price < 0.5 * list_price ORDER BY order_id"
)
LONG = "replace(replace(replace('xxxxxxxx', 'x', 'xxxxxxxxxx'), 'x', 'xxxxxxxxxx'), 'x', 'xxxxxx')"


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    return find_database(tmp_path / "shop.sqlite")


def flags(shop: Path) -> list[Any]:
    with closing(sqlite3.connect(shop)) as connection:
        return connection.execute("SELECT order_id, reason FROM flags").fetchall()


# ---- the file
def test_data_are_equal_everywhere(shop: Path, tmp_path: Path) -> None:
    """Two files have equal rows, and the planted mistake is in three orders."""
    other = find_database(tmp_path / "other.sqlite")
    for table in ("customers", "products", "orders", "order_lines", "flags"):
        with closing(sqlite3.connect(shop)) as a, closing(sqlite3.connect(other)) as b:
            rows = a.execute(f"SELECT * FROM {table}").fetchall()
            assert rows == b.execute(f"SELECT * FROM {table}").fetchall()
    assert run_query(shop, WRONG_PRICES).rows == (
        (1488, 1, 2.49),
        (1492, 40, 2.49),
        (1494, 2, 2.49),
    )
    assert run_query(shop, "SELECT count(*), sum(quantity) FROM order_lines").rows == (
        (1196, 2254),
    )


def test_file_is_made_once(shop: Path) -> None:
    """A file that is there keeps what was written into it."""
    add_flag(shop, 1492, "price")
    assert find_database(shop) == shop
    assert flags(shop) == [(1492, "price")]


def test_first_users_at_once_share_file(tmp_path: Path) -> None:
    """Several that make the file at once find a complete one, and leave nothing beside it."""
    place, counts = tmp_path / "shop.sqlite", list[Any]()

    def use() -> None:
        counts.append(run_query(find_database(place), "SELECT count(*) FROM orders").rows)

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counts == [((643,),)] * 8
    assert list(tmp_path.iterdir()) == [place]


def test_variable_names_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SHOP_DATABASE names the file, with any characters in its path."""
    place = tmp_path / "a #?%b ü.sqlite"
    monkeypatch.setenv("SHOP_DATABASE", str(place))
    assert find_database() == place
    assert run_query(place, "SELECT count(*) FROM orders").rows == ((643,),)


@pytest.mark.parametrize("content", [b"", b"a letter, and no database of any kind", b"other"])
def test_other_file_is_refused_untouched(content: bytes, tmp_path: Path) -> None:
    """A file that is not a sample shop is neither used nor changed."""
    place = tmp_path / "mine.sqlite"
    place.write_bytes(content)
    if content == b"other":
        place.unlink()
        with closing(sqlite3.connect(place)) as connection, connection:
            connection.execute("CREATE TABLE orders (order_id)")
    before = place.read_bytes()
    with pytest.raises(ShopError, match=r"mine\.sqlite is not a sample shop.* Name another file"):
        find_database(place)
    assert place.read_bytes() == before


def test_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ShopError, match=r"cannot be written to .*nowhere.*: No such file"):
        find_database(tmp_path / "nowhere" / "shop.sqlite")


def test_tables_are_described(shop: Path) -> None:
    text = describe_tables(shop)
    assert "CREATE TABLE order_lines (" in text
    assert "-- 643 rows" in text
    assert "sqlite_" not in text


# ---- hostile SQL
WRITES = [
    "INSERT INTO flags VALUES (1, 1001, 'x')",
    "UPDATE products SET list_price = 1",
    "DELETE FROM orders",
    "DELETE FROM flags RETURNING 1",
    "REPLACE INTO customers VALUES (1, 'x', 'DE', 'private')",
    "WITH x AS (SELECT 1) INSERT INTO flags SELECT 1, 1001, 'x' FROM x",
    "DROP TABLE orders",
    "ALTER TABLE flags RENAME TO banners",
    "CREATE TABLE t (x)",
    "CREATE TEMP TABLE t (x)",
    "CREATE TEMP VIEW v AS SELECT 1",
    "CREATE TRIGGER t AFTER INSERT ON flags BEGIN SELECT 1; END",
    "CREATE VIRTUAL TABLE t USING fts5 (x)",
    "ATTACH '/etc/passwd' AS other",
    "ATTACH DATABASE ':memory:' AS other",
    "DETACH main",
    "VACUUM",
    "VACUUM INTO 'copy.sqlite'",
    "REINDEX",
    "ANALYZE",
    "BEGIN",
    "COMMIT",
    "SAVEPOINT s",
    "PRAGMA user_version",
    "PRAGMA query_only = off",
    "PRAGMA writable_schema = on",
    "/* SELECT */ PRAGMA journal_mode = delete",
    "SELECT load_extension('x')",
    "SELECT LOAD_EXTENSION('x', 'y')",
    "SELECT zeroblob(1000000000)",
    "SELECT randomblob(999999999)",
    "SELECT printf('%.999999999c', 'x')",
    "SELECT json_group_array(order_id) FROM orders",
    "SELECT * FROM json_each('[1]')",
    "SELECT * FROM sqlite_master",
    "SELECT * FROM SQLITE_SCHEMA",
    "SELECT * FROM pragma_database_list",
    "EXPLAIN DELETE FROM orders",
]


@pytest.mark.parametrize("sql", WRITES)
def test_query_only_reads_tables(sql: str, shop: Path, tmp_path: Path) -> None:
    """A statement that would do anything else is refused with what to do, and changes nothing."""
    before = shop.read_bytes()
    with pytest.raises(
        QueryRefused, match=r"may only read the tables of the shop.* Write one SELECT"
    ):
        run_query(shop, sql)
    assert shop.read_bytes() == before
    assert list(tmp_path.iterdir()) == [shop]


def test_connection_refuses_writes_by_itself(shop: Path) -> None:
    """The file is opened for reading, so a gap in the list of what is allowed would not matter."""
    with closing(database._connect(shop, "ro")) as connection:
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            connection.execute("DELETE FROM flags")


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1; SELECT 2",
        "SELECT 1; DROP TABLE orders",
        "SELECT 1; -- end\nDELETE FROM flags",
        "SELECT 1;;;SELECT 2",
    ],
)
def test_stacked_statements_are_refused(sql: str, shop: Path) -> None:
    with pytest.raises(QueryRefused, match=r"more than one statement\. Send one SELECT"):
        run_query(shop, sql)


@pytest.mark.parametrize("sql", ["", "  \n", "-- only a comment", "/* nothing */", ";"])
def test_empty_query_is_refused(sql: str, shop: Path) -> None:
    with pytest.raises(QueryRefused, match=r"holds no query\. Write one SELECT statement"):
        run_query(shop, sql)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT count(*) FROM orders -- and a comment",
        "/* a comment */ SELECT count(*) FROM orders /* never closed",
        "SELECT count(*) FROM orders;",
        "WITH x AS (SELECT * FROM orders) SELECT count(*) FROM x",
        "SELECT count(*) FROM orders WHERE 'DROP TABLE orders; --' = 'DROP TABLE orders; --'",
    ],
)
def test_comments_and_quotes_are_read(sql: str, shop: Path) -> None:
    """What only looks like a write, or ends with a comment or `;`, is a query like any other."""
    assert run_query(shop, sql).rows == ((643,),)


@pytest.mark.parametrize(
    "sql",
    [
        "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT max(n) FROM c",
        "SELECT count(*) FROM order_lines a, order_lines b, order_lines c",
        "SELECT * FROM order_lines a, order_lines b, order_lines c ORDER BY b.quantity",
        f"SELECT sum(instr({LONG}, substr({LONG}, 9) || 'y')) "
        "FROM order_lines a, order_lines b, order_lines c",
    ],
)
def test_endless_query_is_stopped(sql: str, shop: Path) -> None:
    """A query that never ends is stopped, and the sentence says what to change."""
    began = time.monotonic()
    with pytest.raises(QueryRefused, match=r"longer than 0\.05 s\. Join tables .* an end"):
        run_query(shop, sql, seconds=0.05)
    assert time.monotonic() - began < 2


@pytest.mark.parametrize(
    "sql, reason",
    [
        (f"SELECT replace({LONG}, 'x', 'xxxx')", "too big"),
        ("SELECT group_concat(a.name) FROM customers a, customers b, customers c", "too big"),
        ("SELECT '" + "x" * 30_000 + "'", "too"),
        ("SELECT " + "1+" * 5_000 + "1", "too"),
        ("SELECT " + "(" * 500 + "1" + ")" * 500, "overflow|too large"),
        ("SELECT " + ",".join(["1"] * 500), "too many columns"),
        (" UNION ALL ".join(["SELECT 1"] * 500), "too many terms"),
        ("SELECT 1\x00", "null character"),
        ("SELECT '\ud800'", "surrogates"),
        ("SELECT", "incomplete|syntax"),
        ("DROPP", "syntax error"),
        ("SELECT * FROM nope", "no such table: nope"),
        ("SELECT writefile('/tmp/x', 'y')", "no such function"),
        ("SELECT abs(-9223372036854775808)", "overflow"),
    ],
)
def test_impossible_query_is_explained(sql: str, reason: str, shop: Path) -> None:
    """What SQLite refuses becomes one sentence with its reason."""
    with pytest.raises(QueryRefused, match=f"SQLite refused the query: .*({reason})"):
        run_query(shop, sql)


def test_huge_result_is_cut(shop: Path) -> None:
    """A result has at most 200 rows and 8,000 characters, and says that it was cut."""
    rows = run_query(shop, "SELECT a.order_id FROM orders a, orders b")
    assert (len(rows.rows), rows.is_cut) == (200, True)
    rows = run_query(shop, f"SELECT substr({LONG}, 1, 290) FROM orders")
    assert 0 < len(rows.rows) < 30
    assert rows.is_cut
    rows = run_query(shop, f"SELECT {LONG}")
    assert (len(rows.rows[0][0]), rows.is_cut) == (301, True)
    assert not run_query(shop, "SELECT order_id FROM orders LIMIT 200").is_cut


def test_values_can_be_written(shop: Path) -> None:
    """Bytes, text that is none, and columns of one name come back as values for JSON."""
    rows = run_query(shop, "SELECT x'00ff' AS a, CAST(x'ff41' AS TEXT) AS a, NULL AS b, 1.5 AS c")
    assert rows.columns == ("a", "a", "b", "c")
    assert rows.rows == (("<2 bytes>", "\ufffdA", None, 1.5),)


def test_query_during_write_sees_shop_before(shop: Path) -> None:
    """A write that is not committed yet neither shows nor fails a query."""
    with closing(sqlite3.connect(shop, isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("INSERT INTO flags (order_id, reason) VALUES (1001, 'x')")
        assert run_query(shop, "SELECT count(*) FROM flags").rows == ((0,),)
        writer.execute("ROLLBACK")


# ---- flags
def test_flag_is_added_each_time(shop: Path) -> None:
    """A second flag is a second row, so an effect that happened twice can be seen."""
    assert (add_flag(shop, 1492, " wrong\n price "), add_flag(shop, 1492, "again")) == (1, 2)
    assert flags(shop) == [(1492, "wrong price"), (1492, "again")]


@pytest.mark.parametrize("order", [0, -1, 9_999, 10**30])
def test_unknown_order_is_refused(order: int, shop: Path) -> None:
    with pytest.raises(NoSuchOrder, match=f"no order {order}. Take the number from a query"):
        add_flag(shop, order, "x")
    assert flags(shop) == []


@pytest.mark.parametrize("reason", ["", "  \n", "x" * 501])
def test_reason_has_bounds(reason: str, shop: Path) -> None:
    with pytest.raises(ShopError, match="reason of 1 to 500 characters"):
        add_flag(shop, 1492, reason)


def test_reason_is_a_value(shop: Path) -> None:
    """SQL in a reason stays text."""
    text = "x'); DROP TABLE orders; --"
    add_flag(shop, 1492, text)
    assert flags(shop) == [(1492, text)]
    assert run_query(shop, "SELECT count(*) FROM orders").rows == ((643,),)


# ---- charts
def test_chart_holds_labels_as_text() -> None:
    """Markup and control characters in titles and labels stay text, on one line, and are cut."""
    svg = draw_chart("<script>&\x00\n", [("<b>" + "x" * 90, 3), ('"', -2.5), ("tiny", 1e-9)])
    root = ElementTree.fromstring(svg)
    texts = [text.text for text in root.iter("{http://www.w3.org/2000/svg}text")]
    assert texts[0] == "<script>&"
    assert texts[1] == "<b>" + "x" * 20 + "…"
    assert texts[2] == "3"
    assert "1e-09" in texts


@pytest.mark.parametrize("values", [[1.0], [0.0], [-1.0, 1.0], [1e308, -1e308], [1e-320]])
def test_bars_stay_within_picture(values: list[float]) -> None:
    """Every bar lies between the labels and the edge, whatever the values."""
    svg = draw_chart("t", [(str(value), value) for value in values])
    bars = re.findall(r'class="bar" x="([\d.-]+)" y="\d+" width="([\d.]+)"', svg)
    assert len(bars) == len(values)
    for x, width in bars:
        assert 28 <= float(x) <= float(x) + float(width) <= 541


@pytest.mark.parametrize(
    "bars, reason",
    [
        ([], "1 to 40 bars, not 0"),
        ([("a", 1.0)] * 41, "not 41. Group"),
        ([("a", float("inf"))], "'a' is not a finite"),
        ([("a", float("nan"))], "'a' is not a finite"),
    ],
)
def test_impossible_chart_is_refused(bars: list[Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        draw_chart("t", bars)

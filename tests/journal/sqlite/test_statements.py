"""The journal sends fixed texts only, so no value can become a part of a statement."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from graphorch.journal.sqlite import statements

PACKAGE = Path(statements.__file__).parents[1]
SQL = re.compile(r"\s*(SELECT|INSERT|UPDATE|DELETE|WITH|CREATE|PRAGMA)\s")
SENDING = {"execute", "executemany", "executescript"}


def is_named(node: ast.expr) -> bool:
    """Return whether an expression is `statements.NAME`, or a choice of two of them.

    `schema.NAME` is one, too.
    """
    match node:
        case ast.Attribute(value=ast.Name(id="statements" | "schema"), attr=name):
            return name.isupper()
        case ast.Subscript(value=ast.Attribute(value=ast.Name(id="statements"), attr=name)):
            return name.isupper()  # a mapping of statements
        case ast.IfExp(body=body, orelse=other):
            return is_named(body) and is_named(other)
        case _:
            return False


def offences(source: str) -> list[int]:
    """Return the lines that send something to a database that is not in the table."""
    tree = ast.parse(source)
    # A loop over fixed texts of the table may send its variable; only the migrations do.
    steps = {
        node.target.id
        for node in ast.walk(tree)
        if isinstance(node, ast.For)
        and isinstance(node.target, ast.Name)
        and ast.unparse(node.iter) in ("migrations[format]", "schema.MIGRATIONS[version]")
    }
    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in SENDING
        if not (
            node.args
            and (
                is_named(node.args[0])
                or (isinstance(node.args[0], ast.Name) and node.args[0].id in steps)
            )
        )
    ]


def test_only_listed_statements_are_sent() -> None:
    """Only statements of the table are sent."""
    modules = sorted(PACKAGE.rglob("*.py"))
    assert len(modules) >= 10
    assert {path.name: offences(path.read_text("utf-8")) for path in modules} == {
        path.name: [] for path in modules
    }


def test_statements_are_plain_texts() -> None:
    """No f-string, no `+`, no `%`, no `.format`, no call: what is written there is what is sent."""
    tree = ast.parse(Path(statements.__file__).read_text("utf-8"))
    allowed = (
        ast.Module, ast.Expr, ast.Assign, ast.AnnAssign, ast.Constant, ast.Name, ast.Load,
        ast.Store, ast.Dict, ast.Tuple, ast.Subscript,
        ast.ImportFrom, ast.alias,
    )  # fmt: skip
    assert [ast.unparse(node) for node in ast.walk(tree) if not isinstance(node, allowed)] == []


@pytest.mark.parametrize(
    "line",
    [
        "db.execute(f'SELECT {x}')", "db.execute('SELECT 1')", "db.execute('SELECT ' + x)",
        "db.execute(text)", "db.executescript(text)",
        "db.executemany(statements.A + x, rows)", "db.execute(statements.A if x else text)",
        "db.execute(statements.A % x)", "db.execute()",
        "db.execute(statements.A.format(x))", "db.cursor().execute(sql=text)",
        "for step in other:\n    db.execute(step)",
    ],
)  # fmt: skip
def test_other_ways_to_send_are_detected(line: str) -> None:
    """Other ways to send a statement are detected."""
    assert len(offences(line)) == 1


def test_stamp_matches_expected_id() -> None:
    """The stamp of a file is the expected one."""
    stamp = f"PRAGMA application_id = {statements.APPLICATION_ID}"
    assert stamp in statements.MIGRATIONS[0]
    for format, steps in statements.MIGRATIONS.items():
        assert steps[-1] == f"PRAGMA user_version = {format + 1}"
    assert statements.APPLICATION_ID.to_bytes(4, "big") == b"gror"
    assert sorted(statements.MIGRATIONS) == list(range(statements.FORMAT))


def placeholders_of(statement: str) -> set[str]:
    """Return the numbered placeholders of a statement, such as `?1`."""
    return set(re.findall(r"\?\d+", statement))


def test_statements_have_no_numbered_placeholders() -> None:
    """No statement numbers its placeholders, since Python 3.14 refuses a sequence for those."""
    texts = [
        node.value
        for path in sorted(PACKAGE.parent.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    statements_sent = [text for text in texts if SQL.match(text)]
    assert len(statements_sent) > 40
    assert {text for text in statements_sent if placeholders_of(text)} == set()
    assert placeholders_of("SELECT ?1, ?22") == {"?1", "?22"}

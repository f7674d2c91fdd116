"""A small shop in a SQLite file: made-up customers, products and orders, with one planted mistake.

`find_database` makes the file at its first use. `run_query` reads it and cannot change it, whatever
SQL it is given; `add_flag` is the only way to write.
"""

from __future__ import annotations

from .chart import draw_chart
from .database import (
    NoSuchOrder,
    QueryRefused,
    Rows,
    ShopError,
    add_flag,
    describe_tables,
    find_database,
    run_query,
)

__all__ = [
    "NoSuchOrder",
    "QueryRefused",
    "Rows",
    "ShopError",
    "add_flag",
    "describe_tables",
    "draw_chart",
    "find_database",
    "run_query",
]

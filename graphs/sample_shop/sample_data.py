"""Made-up data of half a year, equal on every machine, with one mistake in it.

On two days in May the price list was read with the wrong decimal point: a tent of EUR 249.00 was
sold for EUR 2.49, in three orders.
"""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable
from datetime import date, timedelta

_Chance = Callable[[], float]

SEED = 2026
FIRST_DAY, DAYS = date(2026, 1, 1), 181
CUSTOMERS, ORDERS = 90, 640
WRONG_PRODUCT, WRONG_PRICE = 3, 2.49
# Orders with the wrong price: day, customer, and pieces of the tent.
WRONG_ORDERS = ((date(2026, 5, 12), 17, 1), (date(2026, 5, 12), 58, 40), (date(2026, 5, 13), 5, 2))

TABLES = """
CREATE TABLE customers (
    customer_id INTEGER PRIMARY KEY, name TEXT NOT NULL, country TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('private', 'reseller'))
);
CREATE TABLE products (
    product_id INTEGER PRIMARY KEY, name TEXT NOT NULL, category TEXT NOT NULL,
    list_price REAL NOT NULL
);
CREATE TABLE orders (
    order_id INTEGER PRIMARY KEY, customer_id INTEGER NOT NULL REFERENCES customers,
    ordered_on TEXT NOT NULL
);
CREATE TABLE order_lines (
    order_id INTEGER NOT NULL REFERENCES orders, product_id INTEGER NOT NULL REFERENCES products,
    quantity INTEGER NOT NULL, unit_price REAL NOT NULL, PRIMARY KEY (order_id, product_id)
) WITHOUT ROWID;
CREATE TABLE flags (
    flag_id INTEGER PRIMARY KEY, order_id INTEGER NOT NULL REFERENCES orders, reason TEXT NOT NULL
);
"""

_PRODUCTS = (
    ("Day Pack 20", "packs", 69.0), ("Trek Pack 55", "packs", 189.0),
    ("Trail Tent 2", "tents", 249.0), ("Base Tent 4", "tents", 429.0),
    ("Down Bag", "sleeping", 219.0), ("Summer Bag", "sleeping", 79.0),
    ("Light Mat", "sleeping", 49.0), ("Gas Stove", "kitchen", 59.0),
    ("Pot Set", "kitchen", 45.0), ("Head Lamp", "light", 35.0), ("Camp Lantern", "light", 29.0),
    ("Water Filter", "kitchen", 39.0),
)  # fmt: skip
_FIRST_NAMES = "Ada Ben Cleo Dana Emil Fay Gus Hana Ivo Jana Kai Lena Mats Nora Otto".split()
_LAST_NAMES = "Aalto Berg Costa Duval Eriksen Fischer Greco Horvat Ito Jansen".split()
_COUNTRIES = "DE DE DE AT CH NL FR FI".split()


def fill(connection: sqlite3.Connection) -> None:
    """Create the tables of the shop and put the data into them."""
    # Of `random`, only `random()` promises the same numbers in every version of Python.
    chance = random.Random(SEED).random
    connection.executescript(TABLES)
    connection.executemany("INSERT INTO customers VALUES (?, ?, ?, ?)", _make_customers(chance))
    products = [(number, *product) for number, product in enumerate(_PRODUCTS, start=1)]
    connection.executemany("INSERT INTO products VALUES (?, ?, ?, ?)", products)
    orders, lines = _make_orders(chance)
    connection.executemany("INSERT INTO orders VALUES (?, ?, ?)", orders)
    connection.executemany("INSERT INTO order_lines VALUES (?, ?, ?, ?)", lines)


def _make_customers(chance: _Chance) -> list[tuple[int, str, str, str]]:
    customers: list[tuple[int, str, str, str]] = []
    for number in range(1, CUSTOMERS + 1):
        first = _FIRST_NAMES[int(chance() * len(_FIRST_NAMES))]
        last = _LAST_NAMES[int(chance() * len(_LAST_NAMES))]
        country = _COUNTRIES[int(chance() * len(_COUNTRIES))]
        kind = "reseller" if chance() < 0.1 else "private"
        customers.append((number, f"{first} {last}", country, kind))
    return customers


_Order = tuple[int, int, str]
_Line = tuple[int, int, int, float]


def _make_orders(chance: _Chance) -> tuple[list[_Order], list[_Line]]:
    """Return the orders by day, with the wrong ones among them, and their lines."""
    days = [FIRST_DAY + timedelta(days=int(chance() * DAYS)) for _ in range(ORDERS)]
    planned = [(day, 1 + int(chance() * CUSTOMERS), 0) for day in days]
    planned = sorted([*planned, *WRONG_ORDERS])
    orders: list[_Order] = []
    lines: list[_Line] = []
    for number, (day, customer, tents) in enumerate(planned, start=1001):
        orders.append((number, customer, day.isoformat()))
        if tents:
            lines.append((number, WRONG_PRODUCT, tents, WRONG_PRICE))
            continue
        for product in _pick_products(chance):
            price = _PRODUCTS[product - 1][2]
            discount = 0.05 * int(chance() * 4)
            pieces = 1 + int(chance() ** 3 * 5)
            lines.append((number, product, pieces, round(price * (1 - discount), 2)))
    return orders, lines


def _pick_products(chance: _Chance) -> list[int]:
    """Return the numbers of one to three products."""
    count = 1 + int(chance() * 3)
    return sorted({1 + int(chance() * len(_PRODUCTS)) for _ in range(count)})

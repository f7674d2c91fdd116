"""Budgets and accounts: amounts are reserved before a model call and settled after it.

An `Account` is one level of the money: a run, a sub-flow, a node, an iteration of a loop; or,
beside these, a tag or a day. The innermost account pays for a call (`Request.payer`), and the call
counts at every level above and beside it at once. How amounts are counted: `ledger.py`.
"""

from __future__ import annotations

import inspect
import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from graphorch.errors import BudgetExceeded, InputError, InternalError
from graphorch.models.budgets.ledger import (
    NOTHING,
    PICO,
    BudgetLevel,
    Persistence,
    Units,
    reserve,
    settle,
)
from graphorch.text import plural

_LOG = logging.getLogger(__name__)

_UNITS = ("usd", "tokens", "calls")


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Limits in US dollars, tokens, model calls and seconds of wall-clock time; None is no limit.

    A run never starts a call that does not fit. Every request that is sent counts, answered or not;
    what it was charged counts at the worst case where no bill says it. Raises `InputError` for an
    amount below 0. What is left of a budget may be 0, but an account does not open with a 0 in its
    budget.
    """

    usd: float | None = None
    tokens: int | None = None
    calls: int | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        wrong = [
            f"{unit}={value!r}"
            for unit, value in self.amounts()
            if value is not None and not _is_amount(value)
        ]
        if wrong:
            raise InputError(
                f"Budget({', '.join(wrong)}): an amount is a number above 0; "
                "leave it out where there is no limit."
            )

    def amounts(self) -> Iterator[tuple[str, float | None]]:
        """Yield each unit with its amount."""
        yield from (
            ("usd", self.usd),
            ("tokens", self.tokens),
            ("calls", self.calls),
            ("seconds", self.seconds),
        )


def _is_amount(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return 0 <= value < math.inf


@dataclass(frozen=True, slots=True)
class Amount:
    """Dollars, tokens and calls: what something costs, at most or in the end."""

    usd: float = 0.0
    tokens: int = 0
    calls: int = 1


@dataclass(frozen=True, slots=True)
class Alert:
    """Notice that a level has spent a share (0 to 1) of one of its amounts: once for each share."""

    level: str
    unit: str
    share: float
    spent: float
    cap: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CapRules:
    """Rules for what happens near a cap and at it.

    `at_cap`: `fail` ends the run with the limit as its reason, unless an error edge of the node
    takes the failure; `route` makes it an ordinary failure of the node also without such an edge;
    the name of a policy (`policy/cheap`) asks that policy instead, once. When spending crosses one
    of `alert_shares`, `on_alert` is called, on the event loop: it must not block, and what it
    raises is logged and changes nothing.

    Raises `InputError` for values out of range and for an `on_alert` that is `async`.
    """

    at_cap: str = "fail"
    alert_shares: tuple[float, ...] = ()
    on_alert: Callable[[Alert], None] | None = None

    def __post_init__(self) -> None:
        if self.at_cap not in ("fail", "route") and not self.at_cap.startswith("policy/"):
            raise InputError(
                f"at_cap={self.at_cap!r}: use 'fail', 'route' or the name of a policy such as "
                "'policy/cheap'."
            )
        if inspect.iscoroutinefunction(self.on_alert):
            raise InputError(
                "on_alert is an async function, which nobody would await. Give a plain function; "
                "it may start a task."
            )
        wrong = [share for share in self.alert_shares if not 0 < share <= 1]
        if wrong:
            raise InputError(
                f"alert_shares has {wrong[0]!r}: a share lies above 0 and is at most 1, "
                "such as 0.8."
            )


class CapReached(BudgetExceeded):
    """A call does not fit into the budget of `level`, in the unit `limit`.

    `at_cap` says what is declared for that case.
    """

    def __init__(self, message: str, *, level: str, limit: str, at_cap: str) -> None:
        self.level = level
        self.at_cap = at_cap
        self.is_ordinary = at_cap == "route"
        super().__init__(message, limit=limit)


@dataclass(frozen=True, slots=True)
class BudgetReport:
    """Amounts of one level, and how reservations compare with bills.

    `reserved` is open now; `spent` is settled, and `estimated` is the part of its dollars that was
    booked at the worst case because the cost of the call is unknown. `ever_reserved` was set aside
    for the settled calls: against `spent` it shows how far the worst case lay from the bill.
    `overrun` is what bills exceeded their reservations by: 0 unless a provider broke its word.
    """

    level: str
    spent: Amount
    reserved: Amount
    ever_reserved: float
    estimated: float
    overrun: float


class Account:
    """One level of the money.

    `beside` are accounts that this one counts at too, each with all of its own levels;
    `persistence` keeps the level beyond this process. Raises `InputError` for a budget with a 0 in
    it, because no call could be made.
    """

    def __init__(
        self,
        name: str,
        budget: Budget | None = None,
        *,
        rules: CapRules | None = None,
        beside: Sequence[Account] = (),
        persistence: Persistence | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.budget: Budget = budget or Budget()
        self.rules: CapRules = rules or CapRules()
        self._clock = clock
        self.ends_at: float | None = None
        """The time on this account's own clock at which its seconds are over."""
        if self.budget.seconds is not None:
            self.ends_at = clock() + self.budget.seconds
        self.level: BudgetLevel = BudgetLevel(name, _convert_caps(name, self.budget), persistence)
        # an account that is reached along two ways counts once
        above = [ancestor for account in beside for ancestor in account.accounts]
        self.accounts: tuple[Account, ...] = tuple(dict.fromkeys([self, *above]))
        self._levels = tuple(account.level for account in self.accounts)
        self._capped = frozenset(
            unit
            for account in self.accounts
            for unit, value in account.budget.amounts()
            if value is not None
        )
        self._kept = tuple(account for account in self.accounts if account.level.is_kept)
        self._drawing = tuple(account for account in self._kept if account.level.blocks)
        self._watched = tuple(
            account
            for account in self.accounts
            if account.rules.alert_shares and account.rules.on_alert
        )
        self._announced: set[tuple[int, float]] = set()
        self.refresh()

    def __repr__(self) -> str:
        return f"Account({self.name!r}, {self.spent})"

    def open(
        self,
        name: str,
        budget: Budget | None = None,
        *,
        rules: CapRules | None = None,
        beside: Sequence[Account] = (),
    ) -> Account:
        """Open a level below this one: what it spends counts here too.

        Without rules of its own it has this level's `at_cap`.
        """
        inherited = rules or CapRules(at_cap=self.rules.at_cap)
        return Account(name, budget, rules=inherited, beside=(self, *beside), clock=self._clock)

    def has_cap(self, *units: str) -> bool:
        """Return whether this level, or one that it counts at, limits one of these units.

        Units are `usd`, `tokens`, `calls` and `seconds`.
        """
        return not self._capped.isdisjoint(units)

    @property
    def seconds_left(self) -> float | None:
        """Seconds until the first of the levels is out of time, or None."""
        if "seconds" not in self._capped:
            return None
        ends = [account.ends_at for account in self.accounts if account.ends_at is not None]
        return min(ends) - self._clock()

    @property
    def left(self) -> Budget:
        """Amounts that could be reserved now, on all levels."""
        usd, tokens, calls = (self._find_room(unit) for unit in range(3))
        seconds = self.seconds_left
        return Budget(
            usd=None if usd is None else usd / PICO,
            tokens=tokens,
            calls=calls,
            seconds=None if seconds is None else max(0.0, seconds),
        )

    @property
    def spent(self) -> Amount:
        """Amounts that this process has settled."""
        return _convert_units(self.level.spent)

    def count_earlier(self, spent: Amount) -> None:
        """Count what a resumed run spent before this account was opened.

        The levels beside it counted that when it was spent.
        """
        self.level.used_elsewhere = _convert_amount(spent)

    def report(self) -> BudgetReport:
        """Return the amounts of this level, and how reservations compare with bills."""
        level = self.level
        totals = level.totals
        dollars = [number / PICO for number in (totals.reserved, totals.estimated, totals.overrun)]
        return BudgetReport(self.name, self.spent, _convert_units(level.reserved), *dollars)

    def fits(self, worst: Amount) -> bool:
        """Return whether a call of that size would be reserved at once, overtaking no waiter."""
        need = _convert_amount(worst)
        return all(
            not level.waiting and level.find_short_unit(need) is None for level in self._levels
        )

    async def reserve(self, worst: Amount) -> Reservation:
        """Set the worst case of a call aside on every level.

        Waits while it lacks room only because of calls that are not settled. Raises `CapReached` if
        it cannot fit, and `JournalError` if a cap that machines share cannot be asked for.
        """
        for account in self._kept:
            account.refresh()
        left = self.seconds_left
        if left is not None and left <= 0:
            raise self.build_time_error()
        need = _convert_amount(worst)
        if self._drawing:
            await self._draw_blocks(need)
        short = await reserve(self._levels, need)
        # What came back while the call waited may be less than what the cap leaves by now.
        while short is not None and short.lacks_only_block(need):
            await self._draw_blocks(need)
            short = await reserve(self._levels, need)
        if short is not None:
            raise self._build_refusal(short, need)
        return Reservation(self, self._levels, need)

    async def _draw_blocks(self, need: Units) -> None:
        """Draw what the levels lack, as far as their caps leave it.

        Where others wait already, a call waits behind them instead.
        """
        for account in self._drawing:
            if await account.level.learn():
                account._announced = set(account._find_crossed_shares())
        levels = [account.level for account in self._drawing]
        while not any(level.waiting for level in self._levels):
            short = next((level for level in levels if level.lacks_block(need)), None)
            if short is None or not await short.draw(need):
                return

    def refresh(self) -> None:
        """Begin the current period, if the level is kept by periods.

        Shares that earlier processes crossed were for them to announce.
        """
        if self.level.refresh():
            self._announced = set(self._find_crossed_shares())

    def build_time_error(self) -> CapReached:
        """Return the error for a call that the seconds of a budget ended, or did not let begin."""
        first = min(
            (account for account in self.accounts if account.ends_at is not None),
            key=lambda account: account.ends_at or 0.0,
        )
        return CapReached(
            f"The time of '{first.name}' is over: its budget gave it {first.budget.seconds:g} s. "
            "Raise Budget(seconds=…), or ask for less.",
            level=first.name,
            limit="seconds",
            at_cap=first.rules.at_cap,
        )

    def publish_alerts(self) -> None:
        """Announce each share that a level has crossed since the last time."""
        for account in self._watched:
            account._publish_own_alerts()

    def _publish_own_alerts(self) -> None:
        on_alert = self.rules.on_alert
        for unit, share in sorted(set(self._find_crossed_shares()) - self._announced):
            self._announced.add((unit, share))
            if on_alert is not None:
                _call_safely(on_alert, self._build_alert(unit, share))

    def _build_alert(self, unit: int, share: float) -> Alert:
        scale = PICO if unit == 0 else 1
        spent = self.level.spent[unit] + self.level.used_elsewhere[unit]
        cap = self.level.caps[unit] or 0
        return Alert(self.name, _UNITS[unit], share, spent / scale, cap / scale)

    def _find_crossed_shares(self) -> Iterator[tuple[int, float]]:
        """Yield (unit, share) for each alert share that spending has reached."""
        for unit, cap in enumerate(self.level.caps):
            if cap is None:
                continue
            spent = self.level.spent[unit] + self.level.used_elsewhere[unit]
            for share in self.rules.alert_shares:
                if spent >= share * cap:
                    yield unit, share

    def _find_room(self, unit: int) -> int | None:
        """Return what is left of one unit on the level that has least; None without a cap."""
        rooms = [
            max(0, cap - level.count_used(unit))
            for level in self._levels
            if (cap := level.caps[unit]) is not None
        ]
        return min(rooms) if rooms else None

    def _build_refusal(self, level: BudgetLevel, need: Units) -> CapReached:
        unit = level.find_short_unit(need) or 0
        cap = level.caps[unit] or 0
        needed = _format_units(unit, need[unit])
        left = _format_units(unit, max(0, cap - level.count_used(unit)))
        at_cap = next(account.rules.at_cap for account in self.accounts if account.level is level)
        return CapReached(
            f"The budget of '{level.name}' does not cover this call: it may need {needed}, "
            f"and {left} of {_format_units(unit, cap)} are left. "
            f"{_describe_unreturned(level, unit)}"
            "Raise the budget, lower max_tokens, shorten the prompt, or use a cheaper model.",
            level=level.name,
            limit=_UNITS[unit],
            at_cap=at_cap,
        )


class Reservation:
    """Amounts that are set aside for one call.

    It must be settled or released once; a second time is a bug and raises `InternalError`.
    """

    __slots__ = ("_account", "_keys", "_levels", "_need", "is_open")

    def __init__(self, account: Account, levels: Sequence[BudgetLevel], need: Units) -> None:
        self._account = account
        self._levels = levels
        self._need = need
        self._keys: list[str] = [level.key for level in levels]
        self.is_open: bool = True

    def settle(self, actual: Amount, *, is_estimate: bool = False) -> None:
        """Book what the call cost, even if that is more than was set aside: the money is gone."""
        self._close(_convert_amount(actual), is_estimate=is_estimate)

    def settle_worst(self) -> None:
        """Book all that was set aside: the call was sent, and its cost is unknown."""
        self._close(self._need, is_estimate=True)

    def release(self) -> None:
        """Give everything back: nothing was sent."""
        self._close(NOTHING, is_estimate=False)

    def _close(self, actual: Units, *, is_estimate: bool) -> None:
        if not self.is_open:
            raise InternalError(
                f"A reservation of '{self._account.name}' was settled twice. "
                "Please report it with what the run did."
            )
        self.is_open = False
        settle(self._levels, self._keys, self._need, actual, is_estimate=is_estimate)
        self._account.publish_alerts()


def _call_safely(on_alert: Callable[[Alert], None], alert: Alert) -> None:
    """Announce an alert; one that raises is logged, since it must not lose the paid answer."""
    try:
        on_alert(alert)
    except Exception as error:
        _LOG.exception("on_alert raised %s: %s for %s", type(error).__name__, error, alert)


def _convert_caps(name: str, budget: Budget) -> tuple[int | None, int | None, int | None]:
    """Return the caps in whole units, dollars rounded down."""
    empty = [f"{unit}=0" for unit, value in budget.amounts() if value == 0]
    if empty:
        fix = "Give an amount above 0, or leave it out where there is no limit."
        raise InputError(
            f"The budget of '{name}' has {' and '.join(empty)}, so no call could be made. {fix}"
        )
    usd = None if budget.usd is None else math.floor(budget.usd * PICO + _NOISE)
    return usd, budget.tokens, budget.calls


# A float product such as 0.1 × 10¹² may lie a hair beside the whole number that is meant; a
# thousandth of a picodollar is not worth counting.
_NOISE = 1e-3


def _convert_amount(amount: Amount) -> Units:
    """Return an amount in whole units, dollars rounded up."""
    return math.ceil(amount.usd * PICO - _NOISE), amount.tokens, amount.calls


def _convert_units(units: Units) -> Amount:
    return Amount(units[0] / PICO, units[1], units[2])


def _describe_unreturned(level: BudgetLevel, unit: int) -> str:
    """Return a sentence on what other processes have in hand of a cap; empty if nothing."""
    if level.blocks is None:
        return ""
    units, holders = level.blocks.find_unreturned(level.key)
    if not units[unit]:
        return ""
    return (
        f"Another {_format_units(unit, units[unit])} were set aside by "
        f"{plural(holders, 'other process', 'other processes')} and not used so far: what lies "
        "idle comes back within seconds, but what a killed process held stays counted until the "
        "period of the budget ends. "
    )


def _format_units(unit: int, value: int) -> str:
    return f"${value / PICO:.6f}" if unit == 0 else f"{value:,} {_UNITS[unit]}"

"""The tests of the task in `task.md`; they see the attempt as the module `solution`."""
# pyright: reportMissingImports=false, reportUnknownVariableType=false

from __future__ import annotations

from solution import parse_duration


def refused(text: str) -> None:
    try:
        value = parse_duration(text)
    except ValueError as error:
        said = str(error)
    else:
        raise AssertionError(
            f"parse_duration({text!r}) returned {value!r} and has to raise ValueError"
        )
    assert text in said, (
        f"the message of the ValueError for {text!r} does not hold the text: {said}"
    )


def gives(text: str, seconds: int) -> None:
    value = parse_duration(text)
    assert value == seconds, f"parse_duration({text!r}) returned {value!r}, expected {seconds}"


def test_one_part() -> None:
    gives("45s", 45)
    gives("2h", 7200)


def test_several_parts() -> None:
    gives("1h30m", 5400)
    gives("1d2h3m4s", 93784)


def test_blanks_and_capitals() -> None:
    gives(" 1H 30m ", 5400)


def test_a_number_alone_is_seconds() -> None:
    gives("90", 90)


def test_an_empty_text_is_refused() -> None:
    refused("")


def test_an_unknown_unit_is_refused() -> None:
    refused("5w")


def test_a_unit_twice_or_in_the_wrong_order_is_refused() -> None:
    refused("1h1h")
    refused("30m1h")


def test_a_unit_without_a_number_and_a_number_without_a_unit_are_refused() -> None:
    refused("h")
    refused("1h30")


def test_signs_and_decimal_points_are_refused() -> None:
    refused("-5m")
    refused("1.5h")

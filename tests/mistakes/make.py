"""Write the texts of all mistakes anew: `python -m tests.mistakes.make`."""

from __future__ import annotations

from tests.mistakes.programs import PAGE, read_mistakes, run_mistake, write_page


def make() -> None:
    """Run every program of the page, and write what it prints behind it."""
    page = PAGE.read_text("utf-8")
    mistakes = [run_mistake(mistake) for mistake in read_mistakes(page)]
    PAGE.write_text(write_page(page, mistakes), "utf-8")
    print(f"{len(mistakes)} mistakes")


if __name__ == "__main__":
    make()

"""What a session sends to a notebook's cell: a picture that stays, and a stepper."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("anywidget", reason="the stepper needs the extra 'notebook'")
pytest.importorskip("IPython", reason="comes with a notebook's kernel")

from IPython.core.displaypub import CapturingDisplayPublisher
from IPython.core.interactiveshell import InteractiveShell

from graphorch.debugger.notebook.widget import shown_steppers
from tests.debugger.stepping import opened

WIDGET = "application/vnd.jupyter.widget-view+json"


class Kernel:
    """Stands for a kernel: it knows which cell runs."""

    def __init__(self) -> None:
        self.cell, self.execution = "a", "1"

    def get_parent(self) -> dict[str, Any]:
        return {"header": {"msg_id": self.execution}, "metadata": {"cellId": self.cell}}


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    """Return IPython with a kernel, whose outputs are kept."""
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    made: Any = InteractiveShell.instance()
    made.display_pub = CapturingDisplayPublisher(parent=made)
    made.kernel = Kernel()
    yield made
    shown_steppers().clear()
    InteractiveShell.clear_instance()


def show(shell: Any, session: Any, cell: str, execution: str) -> list[dict[str, Any]]:
    shell.kernel.cell, shell.kernel.execution = cell, execution
    shell.display_pub.outputs.clear()
    shell.display_formatter.format(session)
    return [output["data"] for output in shell.display_pub.outputs]


def test_cell_has_picture_and_stepper(shell: Any) -> None:
    """The picture is an output of its own: one that holds a widget too is empty once saved."""
    with opened("chain") as session:
        picture, stepper = show(shell, session, "a", "1")
    assert WIDGET not in picture
    assert 'class="gs-static"' in picture["text/html"]
    assert 'src="data:image/svg+xml' in picture["text/html"]
    assert set(stepper) == {WIDGET, "text/plain"}
    assert stepper["text/plain"] == "Run the cell for a stepper with buttons."


def test_each_display_has_own_stepper(shell: Any) -> None:
    """Two displays of one session, in one cell or in two, keep each their step."""
    with opened("chain") as session:
        show(shell, session, "a", "1")
        session.step()
        show(shell, session, "a", "1")
        session.step()
        show(shell, session, "b", "2")
        shown = [stepper for _, steppers in shown_steppers().values() for stepper in steppers]
        assert [stepper.panels[0]["steps"] for stepper in shown] == [0, 1, 2]


def test_cell_that_runs_again_goes_on_or_ends(shell: Any) -> None:
    """A cell that runs again goes on with its session, and closes it if it shows another one."""
    with opened("chain") as session, opened("chain") as other:
        show(shell, session, "a", "1")
        ((_, (stepper,)),) = shown_steppers().values()
        session.step()
        show(shell, session, "a", "2")
        assert list(shown_steppers().values()) == [("2", [stepper])]
        assert stepper.panels[0]["steps"] == 1
        show(shell, other, "a", "3")
        assert (session.status, other.status) == ("closed", "paused")


def test_session_without_kernel_has_one_output(shell: Any) -> None:
    """In a terminal, or where no kernel runs the cells, the bundle is shown as it is."""
    del shell.kernel
    with opened("chain") as session:
        data, _ = shell.display_formatter.format(session)
    assert shell.display_pub.outputs == []
    assert {"text/plain", "text/html", "image/svg+xml"} <= set(data)

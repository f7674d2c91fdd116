"""The stepper without a page: commands of a front end, on any thread, and the state sent back."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytest.importorskip("anywidget", reason="the stepper needs the extra 'notebook'")

from graphorch.debugger.notebook.widget import Stepper
from graphorch.models.offline.client import OfflineClient
from graphorch.runs.background_loop import background_loop
from tests.scenarios.events.shop import Order, first_flow
from tests.scenarios.flows import FLOWS, Ledger, State
from tests.trace.acting import SECOND_SEND, SEND, Topic, desk

GIVEN = {"kind": "json", "value": "3"}


class Front:
    """Stands where the page is."""

    def __init__(self, name: str) -> None:
        self._open(FLOWS[name]().debug(State(), resources=Ledger()))

    @classmethod
    def of(cls, session: Any) -> Front:
        """Return the page of a session."""
        front = cls.__new__(cls)
        front._open(session)
        return front

    def _open(self, session: Any) -> None:
        self.session = session
        self.stepper = Stepper(self.session)
        self._changed = threading.Condition()
        self.stepper.observe(self._seen, "panels")

    def _seen(self, _change: object) -> None:
        with self._changed:
            self._changed.notify_all()

    def send(self, command: str, panel: int = 0, **more: Any) -> None:
        self.stepper._handle_custom_msg({"command": command, "panel": panel, **more}, [])

    def finish(self, command: str) -> None:
        """Send a command, and wait until it is over and not only shown."""
        background_loop().wait(self.stepper._handle({"command": command, "panel": 0}))

    def until(self, holds: Callable[[list[dict[str, Any]]], bool]) -> list[dict[str, Any]]:
        with self._changed:
            assert self._changed.wait_for(lambda: holds(self.stepper.panels), 10), (
                self.stepper.panels
            )
        return self.stepper.panels


@pytest.fixture
def front(request: pytest.FixtureRequest) -> Iterator[Front]:
    made = Front(request.param)
    yield made
    made.stepper.end("closed")


def steps(panels: list[dict[str, Any]], panel: int = 0) -> int:
    return panels[panel]["steps"]


@pytest.mark.parametrize("front", ["chain"], indirect=True)
def test_commands_step_and_go_back(front: Front) -> None:
    """Commands of the page step, go back, and run to a node."""
    front.send("step")
    front.until(lambda panels: steps(panels) == 1)
    front.send("until", box="d")
    front.until(lambda panels: panels[0]["next"] == "d")
    front.send("back")
    front.until(lambda panels: steps(panels) == 2)
    front.send("go")
    assert (
        front.until(lambda panels: panels[0]["status"] == "succeeded")[0]["state"][-1] is not None
    )


@pytest.mark.parametrize("front", ["routes"], indirect=True)
def test_breakpoints_come_and_go(front: Front) -> None:
    """A click on a box or line sets a breakpoint, and a second one removes it."""
    line = next(name for name, ends in front.stepper.lines.items() if ends == ["first", "second"])
    front.send("break", line=line)
    front.until(
        lambda panels: (
            panels[0]["breakpoints"]
            == [{"text": "on 'first' → 'second'", "box": "", "lines": [line]}]
        )
    )
    front.send("go")
    front.until(lambda panels: panels[0]["stopped"] == "on 'first' → 'second'")
    front.send("unbreak", text="on 'first' → 'second'")
    front.send("break", box="end")
    front.until(lambda panels: [panel["box"] for panel in panels[0]["breakpoints"]] == ["end"])
    front.send("break", box="end")
    front.until(lambda panels: panels[0]["breakpoints"] == [])
    front.send("errors")
    front.until(
        lambda panels: [panel["text"] for panel in panels[0]["breakpoints"]] == ["on Exception"]
    )


@pytest.mark.parametrize("front", ["asked"], indirect=True)
def test_commands_with_values_arrive(front: Front) -> None:
    """Answers, edits, pins, forks and reruns reach their session."""
    front.send("step")
    front.until(lambda panels: steps(panels) == 1)
    front.send("edit", name="n", value="2", plain=False)
    front.until(lambda panels: panels[0]["step"]["how"] == "edited")
    front.send("pin", box="beside", values={"log": '["pinned"]'})
    front.until(lambda panels: panels[0]["pins"] == {"beside": {"log": '["pinned"]'}})
    front.send("fork")
    front.until(lambda panels: len(panels) == 2)
    front.send("go", panel=1)
    (question,) = front.until(lambda panels: panels[1]["status"] == "waiting")[1]["questions"]
    front.send(
        "answer",
        panel=1,
        question=question["id"],
        values={"approved": {"kind": "flag", "value": True}},
    )
    front.until(lambda panels: panels[1]["next"] == "end")
    front.send("rerun", at=0)
    front.until(lambda panels: len(panels) == 3)
    assert steps(front.stepper.panels) == 1
    front.send("drop", panel=2)
    front.until(lambda panels: len(panels) == 2)


@pytest.mark.parametrize("front", ["chain"], indirect=True)
@pytest.mark.parametrize(
    "command, notice",
    [
        ({"command": "back"}, "There is nothing to undo: this is where the session began."),
        (
            {"command": "edit", "name": "n", "value": "many", "plain": False},
            "That is not JSON: Expecting value at character 1",
        ),
        (
            {"command": "edit", "name": "m", "value": "1", "plain": False},
            "'m' is not a field of State.",
        ),
        ({"command": "dance"}, "The stepper has no command 'dance'."),
        ({"command": "pin", "box": "a"}, None),
        ({"command": "answer", "question": "x", "values": {}}, "Question 'x' is not open"),
        ({"command": "detail", "at": "one"}, "ValueError: invalid literal for int()"),
    ],
)
def test_wrong_command_shows_notice(
    front: Front, command: dict[str, Any], notice: str | None
) -> None:
    """The page shows the error, and nothing changes."""
    front.stepper._handle_custom_msg({"panel": 0, **command}, [])
    if notice is not None:
        front.until(lambda panels: panels[0]["notice"].startswith(notice))
    front.send("step")
    assert front.until(lambda panels: steps(panels) == 1)[0]["notice"] == ""


@pytest.mark.parametrize("front", ["sub_flows"], indirect=True)
def test_sub_flows_fold_in_picture(front: Front) -> None:
    """A closed sub-flow is one box."""
    assert 'data-box="team/up"' in front.stepper.panels[0]["svg"]
    front.send("fold", path="team")
    svg = front.until(lambda panels: panels[0]["groups"][0]["closed"])[0]["svg"]
    assert 'data-box="team/up"' not in svg
    assert 'data-box="team"' in svg


@pytest.mark.parametrize("front", ["chain"], indirect=True)
def test_unknown_messages_are_ignored(front: Front) -> None:
    """A message that is not a command of a panel has no effect."""
    for content in ("step", None, {"command": "step", "panel": 9}):
        front.stepper._handle_custom_msg(content, [])
    front.send("step")
    assert steps(front.until(lambda panels: steps(panels) >= 1)) == 1


# ---- a cell keeps what it showed -----------------------------------------------------------------
@pytest.mark.parametrize("front", ["chain"], indirect=True)
def test_page_keeps_step_of_cell(front: Front) -> None:
    """What other cells do to the session is told, and not shown until the page follows."""
    front.finish("step")
    front.until(lambda panels: steps(panels) == 1)
    front.session.step()
    front.session.run_until()
    (panel,) = front.until(
        lambda panels: panels[0]["moved"] and panels[0]["moved"]["status"] == "succeeded"
    )
    assert (panel["steps"], panel["status"], panel["step"]["path"]) == (1, "paused", "a")
    assert panel["moved"] == {"steps": 4, "next": "", "status": "succeeded"}
    front.send("step")
    notice = front.until(lambda panels: panels[0]["notice"])[0]["notice"]
    assert notice.startswith("The session went on after this cell showed it.")
    front.send("follow")
    (panel,) = front.until(lambda panels: steps(panels) == 4)
    assert (panel["moved"], panel["status"], panel["notice"]) == (None, "succeeded", "")
    front.session.step_back()
    assert front.until(lambda panels: steps(panels) == 3)[0]["moved"] is None


@pytest.mark.parametrize("front", ["chain"], indirect=True)
def test_page_is_current_again_after_going_back(front: Front) -> None:
    """A session that comes back to the step that the cell showed is shown as it is."""
    front.session.step()
    front.until(lambda panels: panels[0]["moved"])
    front.session.step_back()
    front.until(lambda panels: not panels[0]["moved"])
    front.send("step")
    assert steps(front.until(lambda panels: steps(panels) == 1)) == 1


@pytest.mark.parametrize("front", ["chain"], indirect=True)
def test_cell_that_runs_again_shows_where_session_is(front: Front) -> None:
    """Showing the same session again moves the page on, once."""
    front.session.step()
    front.until(lambda panels: panels[0]["moved"])
    front.stepper.show_now()
    (panel,) = front.stepper.panels
    assert (panel["steps"], panel["moved"]) == (1, None)
    front.session.step()
    assert steps(front.until(lambda panels: panels[0]["moved"])) == 1


@pytest.mark.parametrize("front", ["chain"], indirect=True)
def test_other_page_of_session_keeps_its_step(front: Front) -> None:
    """Two cells may show one session: a click in the second does not change the first."""
    second = Stepper(front.session)
    second._handle_custom_msg({"command": "step", "panel": 0}, [])
    (panel,) = front.until(lambda panels: panels[0]["moved"])
    assert (steps(front.stepper.panels), panel["moved"]["steps"]) == (0, 1)


@pytest.mark.parametrize("front", ["chain"], indirect=True)
def test_closed_session_is_told_where_cell_keeps(front: Front) -> None:
    """A session that went on and was closed is told as closed; one that did not move shows it."""
    front.send("step")
    front.until(lambda panels: steps(panels) == 1)
    front.session.close()
    assert front.until(lambda panels: panels[0]["status"] == "closed")[0]["moved"] is None


@pytest.mark.parametrize("front", ["mapped"], indirect=True)
def test_items_of_map_are_sent_when_asked(front: Front) -> None:
    """The rows of a map hold no items; a message of the page fetches them."""
    sent: list[dict[str, Any]] = []
    arrived = threading.Event()

    def keep(content: dict[str, Any]) -> None:
        sent.append(content)
        arrived.set()

    page: Any = front.stepper
    page.send = keep  # where the page would get it
    front.send("go")
    (panel,) = front.until(lambda panels: panels[0]["status"] == "succeeded")
    row = next(row for row in panel["rows"] if "map" in row)
    front.send("items", first=row["at"], last=row["last"])
    assert arrived.wait(10)
    (message,) = sent
    assert (message["panel"], message["first"]) == (0, row["at"])
    assert [item["item"] for item in message["items"]] == list(range(row["items"]))


@pytest.mark.parametrize("front", ["chain"], indirect=True)
def test_forks_have_name_origin_and_difference(front: Front) -> None:
    """A fork says what it is, and how it differs from the session that it comes from."""
    front.send("step")
    front.until(lambda panels: steps(panels) == 1)
    front.send("fork")
    front.until(lambda panels: len(panels) == 2)
    front.send("step", panel=1)
    shown = front.until(lambda panels: len(panels) == 2 and panels[1]["steps"] == 2)
    first, fork = shown
    assert (first["name"], first["origin"], first["difference"]) == ("Session", "", None)
    assert fork["name"] == "Fork 1"
    assert fork["origin"] == f"fork of {first['run'][:8]} after step 1 ('a')"
    assert fork["difference"]["ran"] == ["b"]
    assert fork["difference"]["only_new"] == ["b"]
    front.send("rerun", at=0)
    third = front.until(lambda panels: len(panels) == 3)[2]
    assert (third["name"], third["origin"]) == (
        "Rerun 2",
        f"rerun of {first['run'][:8]}: 'a#1' again",
    )


@pytest.mark.parametrize("front", ["loop_with_join"], indirect=True)
def test_rerun_takes_visit_that_was_chosen(front: Front) -> None:
    """The second visit of a node runs again if its step is the one that is looked at."""
    front.send("go")
    (panel,) = front.until(lambda panels: panels[0]["status"] == "succeeded")
    paths = [row["path"] for row in panel["rows"]]
    again = next(path for path in paths if paths.count(path) > 1)
    at = [index for index, path in enumerate(paths) if path == again][1]
    front.send("rerun", at=at)
    rerun = front.until(lambda panels: len(panels) == 2)[1]
    assert f"'{again}#2' again" in rerun["origin"]
    front.send("rerun", at=999)
    assert front.until(lambda panels: panels[0]["notice"])[0]["notice"].startswith(
        "There is no step"
    )


class DeskFront(Front):
    """A page with a session whose calls of tools wait for a person."""

    def __init__(self) -> None:
        self.session = desk().debug(Topic(), client=OfflineClient())
        self.session.step()
        self.stepper = Stepper(self.session)
        self._changed = threading.Condition()
        self.stepper.observe(self._seen, "panels")

    def decide(self, question: str, decision: str, arguments: str | None, words: str) -> None:
        id_ = next(item.id for item in self.session.open_questions if item.path == question)
        self.send("decide", question=id_, decision=decision, arguments=arguments, words=words)


@pytest.mark.parametrize(
    "decision, arguments, words, text",
    [
        ("approve", None, "", "sent to ann: at noon"),
        ("approve", '{"to": "eve", "body": "x"}', "", "sent to eve: x"),
        ("refuse", None, "not now", "Refused: a person did not approve this call of 'send'."),
        ("answer", None, "by hand", "by hand"),
    ],
)
def test_page_decides_about_calls(
    decision: str, arguments: str | None, words: str, text: str
) -> None:
    """A call of a tool is approved, changed, refused or answered instead on the page."""
    front = DeskFront()
    (panel,) = front.stepper.panels
    question = panel["questions"][0]
    assert (question["tool"], question["box"]) == ("send", "write")
    assert '"ann"' in question["arguments"]
    front.decide(SEND, decision, arguments, words)
    front.until(lambda panels: len(panels[0]["questions"]) == 1)
    front.decide(SECOND_SEND, "refuse", None, "")
    front.until(lambda panels: not panels[0]["questions"])
    front.session.run_until()
    step = [step for step in front.session.history if step.path == SEND][-1]
    assert step.changed["text"][1].startswith(text)
    front.stepper.end("over")


@pytest.mark.parametrize(
    "decision, arguments, words, message",
    [
        ("approve", '{"to": "eve"}', "", "body: Field required"),
        ("approve", "no json", "", "That is not JSON"),
        ("answer", None, " ", "Write what the model gets"),
    ],
)
def test_page_refuses_wrong_decisions(
    decision: str, arguments: str | None, words: str, message: str
) -> None:
    """A decision that does not fit is a notice, and the question stays."""
    front = DeskFront()
    front.decide(SEND, decision, arguments, words)
    (panel,) = front.until(lambda panels: bool(panels[0]["notice"]))
    assert message in panel["notice"]
    assert len(panel["questions"]) == 2
    front.stepper.end("over")


@pytest.mark.parametrize(
    ("message", "follows"),
    [
        (
            {"command": "signal", "signal": "paid", "key": "", "values": {"amount": GIVEN}},
            "paid",
        ),
        ({"command": "skip", "question": "later"}, "remind"),
    ],
    ids=["signal", "skip"],
)
def test_page_gives_what_is_waited_for(message: dict[str, Any], follows: str) -> None:
    """A signal is sent with the values of its form, and the time of a timer comes."""
    front = Front.of(first_flow().debug(Order()))
    try:
        front.send("go")
        front.until(lambda panels: panels[0]["status"] == "waiting")
        front.send(**message)
        front.until(lambda panels: panels[0]["next"] == follows)
    finally:
        front.stepper.end("closed")

"""The conversation of a loop of tools, without input or output."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from graphorch.agents.tool_conversation import (
    AskAgain,
    Finished,
    HistoryLimits,
    Round,
    ToolConversation,
    most_calls,
)
from graphorch.agents.tool_guards import NoProgress, TooManyToolRounds
from graphorch.errors import InputError, InternalError
from graphorch.models.messages import Message, Request, Response, ToolCall, estimate_input
from graphorch.models.structured_output import InvalidAnswer
from tests.agents.conversations import (
    answer_round,
    ask,
    call,
    converse,
    find_orphans,
    offer,
    play,
    respond,
)


class Depth(BaseModel):
    metres: float
    place: str


class Remark(BaseModel):
    text: str


def look_up(place: str, hour: int = 12) -> str:
    """Return the depth of the water."""
    return f"{place} at {hour}"


def send(text: str) -> str:
    return text


def weigh(kilos: float) -> None: ...


def count(number: int) -> None: ...


TOOLS = offer(look_up) | offer(send)
FITS = '{"metres": 1.5, "place": "Northcliff"}'


def begin(conversation: ToolConversation[Any], *calls: ToolCall, text: str = "") -> Round:
    step = conversation.take(respond(*calls, text=text))
    assert isinstance(step, Round)
    return step


# ---- rounds --------------------------------------------------------------------------------------


def test_conversation_holds_calls_and_answers() -> None:
    """Calls and their answers follow the question, in the order of the model."""
    conversation = converse(TOOLS)
    opened = begin(
        conversation, call("send", '{"text": "a"}', "x"), call("look_up", '{"place": "b"}', "y")
    )
    assert (opened.number, [one.name for one in opened.calls]) == (1, ["send", "look_up"])
    assert [one.arguments for one in opened.calls] == [{"text": "a"}, {"place": "b", "hour": 12}]
    assert [one.text for one in opened.calls] == [None, None]
    conversation.add_outcomes(["sent", "deep"])
    question, asked, *answers = conversation.next_request().messages
    assert question == Message(content="how deep?")
    assert [one.name for one in asked.tool_calls] == ["send", "look_up"]
    assert [(one.tool_call_id, one.content) for one in answers] == [("x", "sent"), ("y", "deep")]
    step = conversation.take(respond(text="1.5 metres"))
    assert isinstance(step, Finished)
    assert (step.response.text, step.response.usage.input_tokens) == ("1.5 metres", 20)
    assert (step.response.usd, step.response.attempts, step.response.seconds) == (1.0, 2, 2.0)
    assert step.response.note == "tools: send, look_up"


def test_next_request_offers_tools() -> None:
    """Tools are offered in their order, with all else of the first request."""
    conversation = converse(TOOLS, request=ask(timeout=9.0, max_tokens=7, temperature=0.5))
    request = conversation.next_request()
    assert [spec.name for spec in request.tools] == ["look_up", "send"]
    assert (request.timeout, request.max_tokens, request.temperature) == (9.0, 7, 0.5)
    assert (request.schema, request.tool_choice) == (None, "auto")


@pytest.mark.parametrize(
    ("written", "arguments"),
    [
        ('{"place": "a", "hour": "3"}', {"place": "a", "hour": 3}),
        ('"{\\"place\\": \\"a\\"}"', {"place": "a", "hour": 12}),
        ('{"hour": 3, "place": "a\nb"}', {"place": "a\nb", "hour": 3}),
    ],
)
def test_arguments_are_what_will_run(written: str, arguments: dict[str, Any]) -> None:
    """Arguments are those after validation, with defaults, also if they came twice encoded."""
    (planned,) = begin(converse(TOOLS), call("look_up", written)).calls
    assert (planned.arguments, planned.text) == (arguments, None)


@pytest.mark.parametrize(
    ("name", "written", "said"),
    [
        ("look_up", "", "p0: Field required"),
        ("look_up", "null", "p0: Field required"),
        ("look_up", "{}", "p0: Field required"),
        ("look_up", "[1]", "Input should be an object"),
        ("look_up", '{"place": "a"', "Invalid JSON"),
        ("look_up", '{"place": "a", "hour": "noon"}', "hour: Input should be a valid integer"),
        ("look_up", '{"place": "a", "depth": 1}', "depth: Extra inputs are not permitted"),
        ("look_up", '{"place": "\\ud83d"}', "Invalid JSON"),
        ("look_up", '{"place": "\ud83d"}', "Invalid JSON"),
        ("look_up", "[" * 100_000, "Invalid JSON"),
        ("weigh", '{"kilos": 1e999}', "are no JSON by the standard"),
        ("weigh", '{"kilos": NaN}', "are no JSON by the standard"),
        ("count", '{"number": 1' + "0" * 5_000 + "}", "number out of range"),
        ("lookup", '{"place": "a"}', "there is no tool 'lookup'. Did you mean 'look_up'?"),
        ("read_result", "{}", "there is no tool 'read_result'"),
        ("", "{}", "there is no tool ''"),
        ("send\ud83d", "{}", "there is no tool 'send\\ud83d'"),
    ],
)
def test_wrong_call_is_told(name: str, written: str, said: str) -> None:
    """A call that cannot run is answered by what is wrong with it, and can be sent."""
    conversation = converse(TOOLS | offer(weigh) | offer(count))
    (planned,) = begin(conversation, call(name, written)).calls
    assert planned.arguments is None
    assert planned.text is not None
    assert said.replace("p0", "place") in planned.text
    conversation.add_outcomes([planned.text])
    messages = conversation.next_request().messages
    assert messages[-1].content == planned.text
    repr([one.tool_calls for one in messages]).encode()
    assert find_orphans(messages) == []


def test_ids_are_made_unique() -> None:
    """Ids that are missing, repeat, or stand in the prompt are replaced, and stay unique."""
    earlier = (
        Message(content="?"),
        Message(role="assistant", content="", tool_calls=(call("send", "{}", "old"),)),
        Message(role="tool", content="ok", tool_call_id="old"),
        Message(content="and now?"),
    )
    conversation = converse(TOOLS, request=Request("m", earlier))
    for _ in range(2):
        calls = [
            call("send", f'{{"text": "{n}"}}', id) for n, id in enumerate(["", "a", "a", "old"])
        ]
        opened = begin(conversation, *calls, call("send", '{"text": "x"}', "call_1"))
        conversation.add_outcomes(answer_round(opened))
    messages = conversation.next_request().messages
    assert find_orphans(messages) == []
    assert [one.tool_call_id for one in messages if one.role == "tool"][2] == "a"


def test_rounds_are_bounded() -> None:
    """One round more than is allowed is an error that says what to do."""
    conversation = converse(TOOLS, rounds=2)
    for number in range(2):
        opened = begin(conversation, call("send", f'{{"text": "{number}"}}'))
        conversation.add_outcomes(answer_round(opened))
    with pytest.raises(TooManyToolRounds, match=r"\(send\) 3 times without answering; 2 are"):
        conversation.take(respond(call("send", '{"text": "2"}')))


def test_steps_come_in_order() -> None:
    """A request before the outcomes, or outcomes that are not as many as calls, are our fault."""
    conversation = converse(TOOLS)
    with pytest.raises(InternalError, match="1 outcome for 0 calls"):
        conversation.add_outcomes(["a"])
    begin(conversation, call("send", '{"text": "a"}'))
    with pytest.raises(InternalError, match="before its calls are answered"):
        conversation.next_request()
    with pytest.raises(InternalError, match="before the calls of the last one"):
        conversation.take(respond(text="done"))
    with pytest.raises(InternalError, match="2 outcomes for 1 call"):
        conversation.add_outcomes(["a", "b"])


# ---- the answer ----------------------------------------------------------------------------------


def test_schema_is_sent_without_tools_only() -> None:
    """Beside tools the schema stands in words; the last call has it, and no tool may be called."""
    conversation = converse(TOOLS, output=Depth)
    opened = begin(conversation, call("look_up", '{"place": "a"}'))
    conversation.add_outcomes(answer_round(opened))
    request = conversation.next_request()
    assert (request.schema, request.tool_choice) == (None, "auto")
    assert '"metres"' in request.messages[0].content
    assert conversation.take(respond(text="It is 1.5 m deep.")) == AskAgain()
    final = conversation.next_request()
    assert (final.schema, final.tool_choice, final.tools) == (Depth, "none", request.tools)
    assert final.messages[: len(request.messages)] == request.messages
    assert [one.role for one in final.messages[-2:]] == ["assistant", "user"]
    step = conversation.take(respond(text=FITS))
    assert isinstance(step, Finished)
    assert step.value == Depth(metres=1.5, place="Northcliff")
    assert len(step.responses) == 3


def test_answer_that_fits_needs_no_further_call() -> None:
    """An answer beside tools that fits already is taken, also in the middle of a text."""
    conversation = converse(TOOLS, output=Depth)
    step = conversation.take(respond(text=f"Here it is:\n```json\n{FITS}\n```"))
    assert isinstance(step, Finished)
    assert step.value == Depth(metres=1.5, place="Northcliff")


def test_wrong_answer_is_asked_for_once_more() -> None:
    """The object is asked for, then once more with what is wrong, and then it is an error."""
    conversation = converse(TOOLS, output=Depth)
    assert conversation.take(respond(text="1.5 m")) == AskAgain()
    assert conversation.take(respond(text='{"metres": "x", "place": "a"}')) == AskAgain()
    repair = conversation.next_request()
    assert "metres: Input should be a valid number" in repair.messages[-1].content
    assert (repair.schema, repair.tool_choice) == (Depth, "none")
    with pytest.raises(InvalidAnswer, match="neither its answer nor its second attempt"):
        conversation.take(respond(text="{}"))
    assert len(conversation.responses) == most_calls(0, Depth, has_tools=True)


def test_near_miss_is_told_what_is_wrong() -> None:
    """An object beside tools that does not fit is asked for with what is wrong with it."""
    conversation = converse(TOOLS, output=Depth)
    assert conversation.take(respond(text='{"metres": "x", "place": "a"}')) == AskAgain()
    assert "metres: Input should be" in conversation.next_request().messages[-1].content


def test_tool_call_instead_of_answer_is_no_answer() -> None:
    """A model that calls tools when it may no longer is asked once more, without an orphan."""
    conversation = converse(TOOLS, output=Depth)
    conversation.take(respond(text="1.5 m"))
    assert conversation.take(respond(call("send", '{"text": "a"}'))) == AskAgain()
    request = conversation.next_request()
    assert find_orphans(request.messages) == []
    assert "Tools can no longer be called." in request.messages[-1].content
    assert all(one.content for one in request.messages)
    step = conversation.take(respond(call("send", '{"text": "a"}'), text=FITS))
    assert isinstance(step, Finished)


def test_text_is_the_answer_of_text_field() -> None:
    """A model of one text takes the text; its schema is never sent."""
    conversation = converse(TOOLS, output=Remark)
    request = conversation.next_request()
    assert (request.schema, request.messages) == (None, ask().messages)
    step = conversation.take(respond(text="calm"))
    assert isinstance(step, Finished)
    assert step.value == Remark(text="calm")


def test_conversation_without_tools_is_one_question() -> None:
    """Without tools the schema goes out at once, and an answer is repaired once."""
    conversation = converse({}, output=Depth)
    request = conversation.next_request()
    assert (request.schema, request.tools, request.messages) == (Depth, (), ask().messages)
    assert conversation.take(respond(text="{}")) == AskAgain()
    step = conversation.take(respond(text=FITS))
    assert isinstance(step, Finished)


@pytest.mark.parametrize(
    ("output", "has_tools", "most"),
    [(None, True, 4), (Remark, True, 4), (Depth, True, 6), (Depth, False, 2), (None, False, 1)],
)
def test_most_calls_bounds_a_stubborn_model(
    output: type[BaseModel] | None, has_tools: bool, most: int
) -> None:
    """A model that does all that costs calls makes exactly as many as were announced."""
    conversation = converse(TOOLS if has_tools else {}, output=output, rounds=3)
    asked = 0

    def answer(request: Request) -> Response:
        nonlocal asked
        asked += 1
        if has_tools and asked <= 3:
            return respond(call("send", f'{{"text": "{asked}"}}'))
        return respond(text=FITS if asked == most else "1.5 m")

    play(conversation, answer)
    assert asked == most_calls(3, output, has_tools=has_tools) == most


# ---- guards --------------------------------------------------------------------------------------


def test_third_equal_call_is_not_run() -> None:
    """The same call with the same result runs twice; then the model is told; then it is over."""
    conversation = converse(TOOLS)
    ran = 0

    def run(name: str, arguments: Any) -> str:
        nonlocal ran
        ran += 1
        return "1.5"

    written = ['{"place": "a"}', '{"hour": 12, "place": "a"}', '{"place": "a", "hour": "12"}']
    for text in written:
        conversation.add_outcomes(answer_round(begin(conversation, call("look_up", text)), run))
    assert ran == 2
    told = conversation.next_request().messages[-1].content
    assert told.startswith("Not run: 'look_up' was called with these arguments before")
    assert told.endswith("The result was:\n1.5")
    with pytest.raises(NoProgress, match=r"'look_up' again and again .*\"place\":\"a\""):
        conversation.take(respond(call("look_up", written[0])))


def test_other_result_is_progress() -> None:
    """A call whose result changes may go on, such as a poll that counts."""
    conversation = converse(TOOLS, rounds=9)
    for number in range(9):
        opened = begin(conversation, call("look_up", '{"place": "a"}'))
        assert opened.calls[0].text is None
        conversation.add_outcomes([str(number)])


def test_new_effect_begins_count_anew() -> None:
    """A test that runs after each edit is no repetition; after each equal edit it is one."""
    tools = offer(look_up, effect="pure") | offer(send)
    conversation = converse(tools, rounds=20)
    for number in range(5):
        opened = begin(conversation, call("look_up", '{"place": "a"}'))
        assert opened.calls[0].text is None
        conversation.add_outcomes(["red"])
        edit = begin(conversation, call("send", f'{{"text": "{number}"}}'))
        conversation.add_outcomes(answer_round(edit))
    texts: list[str | None] = []
    for _ in range(3):
        opened = begin(
            conversation, call("look_up", '{"place": "a"}'), call("send", '{"text": "4"}')
        )
        texts += [one.text for one in opened.calls]
        conversation.add_outcomes(["red" if one.text is None else one.text for one in opened.calls])
    assert [text is None for text in texts] == [True, True, True, True, False, False]


@pytest.mark.parametrize("written", ["nonsense", '{"text": "a"}'])
@pytest.mark.parametrize("name", ["send", "nobody"])
@pytest.mark.parametrize("calls", [1, 2, 100])
def test_looping_model_ends_within_four_rounds(name: str, written: str, calls: int) -> None:
    """A model that makes one call for ever ends in the fourth round at the latest."""
    conversation = converse(TOOLS, rounds=1_000)
    rounds = 0
    runs = 0

    def run(name: str, arguments: Any) -> str:
        nonlocal runs
        runs += 1
        return "ok"

    def loop() -> None:
        nonlocal rounds
        while rounds < 10:
            rounds += 1
            opened = begin(conversation, *[call(name, written)] * calls)
            conversation.add_outcomes(answer_round(opened, run))

    with pytest.raises(NoProgress):
        loop()
    assert rounds <= 4
    assert runs <= 2


def test_equal_calls_of_one_round_run_twice() -> None:
    """Of equal calls in one round two run; if their results differ, the next may run again."""
    conversation = converse(TOOLS)
    opened = begin(conversation, *[call("send", '{"text": "a"}')] * 4)
    assert [one.text is None for one in opened.calls] == [True, True, False, False]
    results = iter(["heads", "tails"])
    conversation.add_outcomes(answer_round(opened, lambda name, arguments: next(results)))
    opened = begin(conversation, call("send", '{"text": "a"}'))
    assert opened.calls[0].text is None


def test_tool_runs_at_most_max_calls() -> None:
    """A tool runs as often as it may; calls that could not run do not count."""
    conversation = converse(offer(send, max_calls=2))
    opened = begin(
        conversation, call("send", "{}"), *[call("send", f'{{"text": "{n}"}}') for n in (1, 2, 3)]
    )
    assert [one.text is None for one in opened.calls] == [False, True, True, False]
    assert opened.calls[3].text == (
        "Not run: 'send' may be called 2 times, and it was. Go on without it."
    )
    conversation.add_outcomes(answer_round(opened))
    opened = begin(conversation, call("send", '{"text": "4"}'))
    assert opened.calls[0].text is not None


def test_calls_beyond_bound_are_put_off() -> None:
    """Of very many calls in one answer 64 run; the others run when they are made once more."""
    conversation = converse(TOOLS)
    many = [call("send", f'{{"text": "{number}"}}') for number in range(70)]
    opened = begin(conversation, *many)
    assert [item.text is None for item in opened.calls] == [True] * 64 + [False] * 6
    assert str(opened.calls[64].text).startswith("Not run: only the first 64 calls of one answer")
    conversation.add_outcomes(answer_round(opened))
    assert find_orphans(conversation.next_request().messages) == []
    for _ in range(2):
        opened = begin(conversation, *many[:64], *many[64:])
        conversation.add_outcomes(answer_round(opened))
    opened = begin(conversation, *many[64:])
    assert [item.text for item in opened.calls] == [None] * 6


# ---- history -------------------------------------------------------------------------------------


CALLS = st.builds(
    call,
    st.sampled_from(["look_up", "send", "nobody", ""]),
    st.sampled_from(
        ['{"text": "a"}', '{"place": "b"}', "", "null", "[", '{"text": "c"}', '"\ud800"']
    ),
    st.sampled_from(["", "a", "b", "call_0", "call_1", "\ud800"]),
)
ROUNDS = st.lists(st.lists(CALLS, min_size=1, max_size=4), max_size=6)


@given(
    ROUNDS,
    st.none() | st.integers(1, 5),
    st.none() | st.integers(1, 2_000),
    st.lists(st.sampled_from(["", "x", "long " * 3_000, "\ud800", "ä" * 90_000])),
    st.sampled_from([None, Depth]),
)
def test_any_cut_leaves_no_orphan(
    rounds: list[list[ToolCall]],
    keep_rounds: int | None,
    keep_tokens: int | None,
    results: list[str],
    output: type[BaseModel] | None,
) -> None:
    """Whatever a model calls and whatever is left out: every call has one answer, and no other.

    The same conversation, rebuilt from its responses and outcomes, makes the same requests.
    """

    def play_rounds(outcomes: list[list[str]]) -> list[Request]:
        conversation = converse(
            TOOLS, output=output, keep_rounds=keep_rounds, keep_tokens=keep_tokens
        )
        requests: list[Request] = []
        for number, calls in enumerate(rounds):
            try:
                opened = begin(conversation, *calls)
            except NoProgress:
                return requests
            if number == len(outcomes):
                given = itertools.chain(results, itertools.repeat("ok"))
                outcomes.append(
                    [next(given) if one.text is None else one.text for one in opened.calls]
                )
            conversation.add_outcomes(outcomes[number])
            requests.append(conversation.next_request())
        conversation.take(respond(text="1.5"))
        if output is not None:
            requests.append(conversation.next_request())
        return requests

    outcomes: list[list[str]] = []
    requests = play_rounds(outcomes)
    for request in requests:
        assert find_orphans(request.messages) == []
        "".join(one.content for one in request.messages).encode()
        if keep_rounds is not None:
            assert sum(bool(one.tool_calls) for one in request.messages) <= keep_rounds
    assert play_rounds(outcomes) == requests


def test_rounds_that_are_left_out_are_named() -> None:
    """The last rounds stay whole; the question says that others are left out."""
    conversation = converse(TOOLS, keep_rounds=1)
    for number in range(3):
        opened = begin(conversation, call("send", f'{{"text": "{number}"}}'))
        conversation.add_outcomes(answer_round(opened))
    question, asked, answer = conversation.next_request().messages
    assert question.content.startswith("how deep?\n\n(Earlier calls of tools")
    assert asked.tool_calls[0].arguments == '{"text": "2"}'
    assert answer.role == "tool"


def test_keep_tokens_bounds_the_prompt() -> None:
    """Older rounds are left out until the prompt fits; the last one stays in any case."""
    conversation = converse(TOOLS, rounds=20, keep_tokens=1_000)
    kept: list[int] = []
    for number in range(10):
        begin(conversation, call("send", f'{{"text": "{number}"}}'))
        conversation.add_outcomes(["word " * 20 * number])
        request = conversation.next_request()
        assert estimate_input(request) <= 1_000
        assert request.messages[-1].role == "tool"
        kept.append(sum(bool(one.tool_calls) for one in request.messages))
    assert max(kept) > kept[-1] > 1


@pytest.mark.parametrize("field", ["rounds", "keep_rounds", "keep_tokens"])
@pytest.mark.parametrize("limit", [0, -1, True, 1.5, "many"])
def test_history_of_nothing_is_refused(field: str, limit: Any) -> None:
    limits: dict[str, Any] = {"rounds": 8, field: limit}
    with pytest.raises(InputError, match=f"{field}=.* is no limit"):
        HistoryLimits(**limits)


def test_large_result_is_read_by_range() -> None:
    """Five megabytes are shown by their ends, and the whole can be read piece by piece."""
    text = "".join(f"line {number:07}\n" for number in range(400_000))
    assert len(text) > 5_000_000
    conversation = converse(TOOLS, rounds=1_000, keep_rounds=2)
    begin(conversation, call("send", '{"text": "a"}'))
    conversation.add_outcomes([text])
    request = conversation.next_request()
    assert [spec.name for spec in request.tools] == ["look_up", "send", "read_result"]
    shown = request.messages[-1].content
    assert len(shown) < 21_000
    assert shown.startswith("line 0000000\n")
    assert shown.endswith("line 0399999\n")
    assert f"{len(text) - 20_000:,} of the {len(text):,} characters" in shown
    read = ""
    while len(read) < len(text):
        asked = json.dumps({"id": "r1-0", "start": len(read), "length": 50_000})
        (planned,) = begin(conversation, call("read_result", asked)).calls
        assert planned.text is not None
        read += planned.text.split("\n", 1)[1]
        conversation.add_outcomes([planned.text])
        assert estimate_input(conversation.next_request()) < 20_000
    assert read == text


@pytest.mark.parametrize("calls", [1, 3])
@pytest.mark.parametrize("character", ["x", "ä", "漢", "😀"])
def test_large_result_keeps_to_the_limit(character: str, calls: int) -> None:
    """A result of five megabytes leaves the prompt within its limit, in any script."""
    conversation = converse(TOOLS, keep_tokens=2_000)
    begin(conversation, *[call("send", f'{{"text": "{n}"}}') for n in range(calls)])
    conversation.add_outcomes([character * (5_000_000 // len(character.encode()))] * calls)
    assert estimate_input(conversation.next_request()) <= 2_000
    (planned,) = begin(conversation, call("read_result", '{"id": "r1-0", "start": 9000}')).calls
    assert planned.text is not None
    conversation.add_outcomes([planned.text])
    assert estimate_input(conversation.next_request()) <= 2_000


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"id": "r9-9"}, "no shortened result 'r9-9'. There are: r1-0"),
        ({"id": "r1-0", "start": 10**9}, "has 100,000 characters, from 0 on"),
        ({"id": "r1-0", "start": -1}, "start: Input should be greater"),
        ({"id": "r1-0", "length": 0}, "length: Input should be greater"),
        ({}, "id: Field required"),
        ({"id": "r1-0", "start": 99_999, "length": 5}, "99,999 to 99,999 of 100,000 of 'r1-0':\nx"),
    ],
)
def test_wrong_range_is_told(arguments: dict[str, Any], said: str) -> None:
    conversation = converse(TOOLS)
    begin(conversation, call("send", '{"text": "a"}'))
    conversation.add_outcomes(["x" * 100_000])
    (planned,) = begin(conversation, call("read_result", json.dumps(arguments))).calls
    assert planned.text is not None
    assert said in planned.text


def test_tool_of_same_name_keeps_it() -> None:
    """A tool of the user's that is called `read_result` stays; ours takes another name."""

    def read_result(id: str) -> str:
        return id

    conversation = converse(offer(read_result))
    begin(conversation, call("read_result", '{"id": "a"}'))
    conversation.add_outcomes(["x" * 100_000])
    request = conversation.next_request()
    assert [spec.name for spec in request.tools] == ["read_result", "read_result_2"]
    assert "read_result_2(id='r1-0', start=15000)" in request.messages[-1].content


def test_many_results_of_one_round_share_the_prompt() -> None:
    """A hundred long results of one round are shown in less than a hundred times the room."""
    conversation = converse(TOOLS)
    opened = begin(conversation, *[call("send", f'{{"text": "{n}"}}') for n in range(100)])
    conversation.add_outcomes(answer_round(opened, lambda name, given: "x" * 30_000))
    assert estimate_input(conversation.next_request()) < 30_000


def test_empty_result_is_said() -> None:
    """A result without text is named, since some endpoints refuse an empty message."""
    conversation = converse(TOOLS)
    begin(conversation, call("send", '{"text": "a"}'))
    conversation.add_outcomes([" "])
    assert conversation.next_request().messages[-1].content == "(The result is an empty text.)"

"""What marks forbid, with the way that leads there, and what ends a mark."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel

from graphorch import (
    Context,
    Failure,
    Graph,
    GraphError,
    Node,
    Problem,
    Secret,
    Untrusted,
    agent,
    append,
    node,
)
from graphorch.agents.tool import tool
from graphorch.flow.flow import Flow


class Url(BaseModel):
    url: str = ""


class Page(BaseModel):
    text: Untrusted[str] = ""


class Summary(BaseModel):
    summary: str = ""


class Kind(BaseModel):
    kind: Literal["pay", "keep"] = "keep"


class Verdict(BaseModel):
    agreed: bool = False


class Sent(BaseModel):
    sent: bool = False


class Login(BaseModel):
    token: Secret[str] = ""


class Lines(BaseModel):
    lines: Annotated[list[str], append] = []


class Mail(Url, Page, Summary, Kind, Verdict, Sent, Login, Lines): ...


@node
def fetch(url: Url) -> Page: ...
@agent(output=Summary)
def summarise(page: Page) -> str:
    return page.text


@node(effect="once")
def send(summary: Summary) -> Sent: ...
@node(effect="idempotent")
def ring(url: Url) -> Sent: ...
@node
def classify(page: Page) -> Kind: ...
@node
def keep(url: Url) -> Sent: ...
@node
def visit(url: Url) -> Url: ...
def by_kind(kind: Kind) -> Literal["pay", "keep"]:
    return kind.kind


def mail(input: Any = Url, output: Any = Sent) -> Graph[Mail, Any, Any]:
    return Graph("mail", Mail, input=input, output=output)


def problems(graph: Graph[Any, Any, Any]) -> list[Problem]:
    """Return the problems with marks of a graph; it has no others."""
    try:
        graph.build()
    except GraphError as error:
        found = list(error.problems)
    else:
        found = []
    assert {problem.code for problem in found} <= {"UNTRUSTED_FLOW", "SECRET_FLOW"}
    return found


def only(graph: Graph[Any, Any, Any]) -> Problem:
    [problem] = problems(graph)
    return problem


# ---- untrusted values ----------------------------------------------------------------------------
def test_effect_of_untrusted_value_does_not_build() -> None:
    """The message names the way node by node and field by field, and three ways out."""
    problem = only(mail().chain(fetch, summarise, send))
    assert problem.code == "UNTRUSTED_FLOW"
    assert problem.where == "node 'send'"
    assert problem.what == (
        'untrusted values reach its effect (effect="once"): '
        "'fetch' (writes text) → 'summarise' (text → summary) → 'send' (reads summary)"
    )
    assert "graph.ask" in problem.fix
    assert 'gate="before"' in problem.fix
    assert "declassify" in problem.fix


def test_undo_of_untrusted_value_does_not_build() -> None:
    """An undo acts: what it reads behind its node must not be untrusted."""

    def take_back(url: Url, page: Page) -> None: ...

    @node(effect="once", undo=take_back, name="fetch_once")
    def fetch_once(url: Url) -> Page:
        return Page()

    problem = only(mail().chain(fetch_once, keep))
    assert problem.where == "node 'fetch_once'"
    assert problem.what.startswith("untrusted values reach its undo, which acts: 'fetch_once'")
    assert "declassify" in problem.fix


def test_undo_behind_check_is_fine() -> None:
    """What a check writes may be read by its undo."""

    def take_back(summary: Summary) -> None: ...

    @node(effect="once", undo=take_back, declassify="the page is ours")
    def publish(page: Page) -> Summary:
        return Summary()

    mail().chain(fetch, publish).build()


def test_input_from_outside_is_untrusted() -> None:
    """The way of a value that the input brings begins at START."""
    problem = only(mail(input=Page).chain(summarise, send))
    assert "START (text) → 'summarise' (text → summary) → 'send'" in problem.what


def test_value_passes_nodes_that_do_not_read_it() -> None:
    """Nodes that let a value pass are named without a field."""
    problem = only(mail().chain(fetch, summarise, keep.named("log"), send))
    assert "'summarise' (text → summary) → 'log' → 'send' (reads summary)" in problem.what


def test_constant_default_is_trusted() -> None:
    """A marked field that nothing has written yet holds what the author wrote."""

    @node(effect="once")
    def act(page: Page) -> Sent: ...

    assert problems(mail().chain(act)) == []
    assert len(problems(mail(input=Page).chain(act))) == 1


def test_question_on_the_way_ends_marks() -> None:
    """A graph whose effect waits for a person builds."""
    graph = mail()
    ask = graph.ask("approve", question=lambda s: f"Send '{s.summary}'?", answer=Verdict)
    flow = graph.chain(fetch, summarise, ask, send).build()
    assert flow.warnings == ()


def test_question_beside_the_way_does_not_count() -> None:
    """A way that passes no person is a problem, also if a person is asked on another one."""
    graph = mail()
    ask = graph.ask("approve", question=lambda s: f"Send '{s.summary}'?", answer=Verdict)
    problem = only(graph.chain(fetch, summarise, [ask, keep.named("log")], send))
    assert "'summarise' (text → summary) → 'log' → 'send'" in problem.what


def test_question_that_hides_what_it_lets_through_warns() -> None:
    """A person who does not see the values that go on to an effect vouches for nothing."""
    graph = mail()
    ask = graph.ask("approve", question=lambda s: "Send it?", answer=Verdict)
    flow = graph.chain(fetch, summarise, ask, send).build()
    [warning] = flow.warnings
    assert warning.code == "UNSEEN_APPROVAL"
    assert "does not show 'summary'" in warning.what


def test_gate_before_effect_is_approval() -> None:
    """A gate shows the values that the node reads, so the person has seen them."""
    graph = mail().chain(fetch, summarise, node(effect="once", gate="before")(send.fn))
    assert problems(graph) == []


def test_gate_after_reader_ends_marks_of_its_result() -> None:
    """A person has seen what the node wrote."""

    @agent(output=Summary, gate="after")
    def draft(page: Page) -> str:
        return page.text

    assert problems(mail().chain(fetch, draft, send)) == []


def test_declared_check_ends_marks() -> None:
    """What a check writes, and what it has read, is not untrusted after it."""

    @node(declassify="only known words")
    def clean(summary: Summary) -> Kind: ...

    assert problems(mail().chain(fetch, summarise, clean, send)) == []


def test_check_of_other_field_does_not_count() -> None:
    """A check vouches for what it reads, and for nothing else."""

    @node(declassify="a web address")
    def check_url(url: Url) -> Kind: ...

    assert len(problems(mail().chain(fetch, summarise, check_url, send))) == 1


def test_effect_that_checks_itself_builds() -> None:
    """A check may be made by the node that acts."""
    checked = node(effect="once", declassify="recipient is in the address book")(send.fn)
    assert problems(mail().chain(fetch, summarise, checked)) == []


def test_agent_is_no_check() -> None:
    """A model that reads an injected text cannot vouch for anything."""

    @agent(output=Summary, declassify="looks harmless")
    def judge(page: Page) -> str:
        return page.text

    with pytest.raises(GraphError) as raised:
        mail().chain(fetch, judge, send).build()
    assert "OPTION_DECLASSIFY" in {problem.code for problem in raised.value.problems}


def test_route_that_decides_about_effect_does_not_build() -> None:
    """An untrusted label must not choose whether an effect happens."""
    graph = mail().chain(fetch, classify)
    problem = only(graph.route(classify, by_kind).when("pay", ring).when("keep", keep).exhaustive())
    assert problem.where == "node 'ring'"
    assert problem.what == (
        'untrusted values decide whether its effect (effect="idempotent") happens: '
        "'fetch' (writes text) → 'classify' (text → kind, chooses by kind) → 'ring'"
    )


def test_route_is_settled_by_a_person() -> None:
    """A question between the route and the effect leaves the decision to a person."""
    graph = mail().chain(fetch, classify)
    ask = graph.ask("approve", question=lambda s: f"{s.text}", answer=Verdict)
    graph.route(classify, by_kind).when("pay", ask).when("keep", keep).exhaustive()
    assert problems(graph.chain(ask, ring)) == []


def test_effect_that_runs_anyway_is_not_decided() -> None:
    """A route decides about nothing that follows both of its ways."""
    log = keep.named("log")
    graph = mail().chain(fetch, classify)
    graph.route(classify, by_kind).when("pay", keep).when("keep", log).exhaustive()
    assert problems(graph.chain([keep, log], ring)) == []

    later = mail().chain(fetch, classify)
    later.loop(classify, back_to=fetch, while_=lambda s: s.kind == "pay", max_iterations=3)
    assert problems(later.chain(classify, ring)) == []


def test_loop_that_repeats_effect_does_not_build() -> None:
    """An untrusted condition must not decide how often an effect happens."""
    graph = mail().chain(fetch, ring, classify)
    graph.loop(classify, back_to=fetch, while_=lambda s: s.kind == "pay", max_iterations=3)
    assert "'classify' (text → kind, chooses by kind) → 'ring'" in only(graph).what


def test_failure_that_leads_to_effect_does_not_build() -> None:
    """A text that makes its reader fail must not set off the handler, nor be quoted to it."""

    @node(effect="once")
    def report(failure: Failure, url: Url) -> Sent: ...

    graph = mail().chain(fetch, summarise).on_error(summarise, report)
    quoted, decided = problems(graph)
    assert "'summarise' (reads text, may fail) → 'report' (reads the Failure)" in quoted.what
    assert decided.what.endswith("'summarise' (reads text, may fail) → 'report'")


def test_marks_inside_of_types_count() -> None:
    """A list, an option and a model inside mark their field."""

    class Hit(BaseModel):
        text: Untrusted[str] = ""

    for kind in (list[Untrusted[str]], Untrusted[str] | None, dict[str, Hit], list[Hit]):

        class Found(BaseModel):
            found: kind = None  # type: ignore[valid-type]

        class State(Url, Found, Sent): ...

        @node
        def search(url: Url) -> Found: ...
        @node(effect="once")
        def act(found: Found) -> Sent: ...

        graph = Graph("search", State, input=Url, output=Sent).chain(search, act)
        assert "'search' (writes found) → 'act' (reads found)" in only(graph).what


def test_reducer_keeps_marks() -> None:
    """A write that is folded in leaves the marked values of others in the field."""

    @node
    def note(page: Page) -> Lines: ...
    @node
    def add(url: Url) -> Lines: ...
    @node(effect="once")
    def act(lines: Lines) -> Sent: ...

    assert len(problems(mail().chain(fetch, note, add, act))) == 1


def test_replaced_value_loses_its_mark() -> None:
    """A field that is certainly written anew holds nothing of what was there."""

    class Title(BaseModel):
        title: str

    class State(Mail, Title): ...

    @node
    def derive(page: Page) -> Title: ...
    @node
    def name(url: Url) -> Title: ...
    @node
    def perhaps(url: Url) -> Title | None: ...
    @node(effect="once")
    def act(title: Title) -> Sent: ...

    def graph(middle: Node[Any]) -> Graph[Any, Any, Any]:
        return Graph("titles", State, input=Url, output=Sent).chain(fetch, derive, middle, act)

    assert problems(graph(name)) == []
    assert len(problems(graph(perhaps))) == 1


def test_remembered_values_keep_their_marks() -> None:
    """The next turn of a conversation begins with what an attacker left in the last one."""
    graph = Graph("talk", Mail, input=Url, output=Sent, remember=[Summary])
    assert "summary" in only(graph.chain(send, fetch, summarise)).what


# ---- tools ---------------------------------------------------------------------------------------
def look_up(word: str) -> str:
    """Look a word up."""
    return word


def read_mail() -> list[Untrusted[str]]:
    """Return the mails that came in."""
    return []


def send_mail(to: str) -> str:
    """Send a mail."""
    return to


def assistant(reads: Any, *tools: Any) -> Any:
    @agent(output=Sent, tools=tools, name="assistant")
    def prompt(slice: reads) -> str:  # type: ignore[valid-type]
        return "help"

    return prompt


def test_acting_tool_of_agent_that_reads_untrusted_does_not_build() -> None:
    """Arguments that a model writes after it has read an untrusted text are untrusted."""
    problem = only(mail().chain(fetch, assistant(Page, tool(effect="pure")(look_up), send_mail)))
    assert problem.what == (
        "untrusted values reach the arguments of its tool 'send_mail': "
        "'fetch' (writes text) → 'assistant' (reads text)"
    )
    assert "@tool(approve=True)" in problem.fix


def test_result_of_own_tool_taints_later_calls() -> None:
    """What one tool of an agent returns reaches the arguments of the next call."""
    reading = tool(effect="pure")(read_mail)
    problem = only(mail().chain(assistant(Url, reading, send_mail)))
    assert problem.what == (
        "what its untrusted tool 'read_mail' gives reaches the arguments of its tool 'send_mail': "
        "'assistant' (reads tool read_mail)"
    )
    assert "another agent" in problem.fix


def test_result_of_own_tool_marks_what_agent_writes() -> None:
    """An agent with an untrusted tool writes untrusted values, whatever its prompt reads."""

    @node(effect="once")
    def act(sent: Sent) -> Lines: ...

    reader = assistant(Url, tool(effect="pure")(read_mail))
    problem = only(mail().chain(reader, act))
    assert "'assistant' (tool read_mail → sent) → 'act' (reads sent)" in problem.what


def test_approved_or_pure_tools_build() -> None:
    """A person who approves each call sees its arguments; a tool that only reads does no harm."""
    reading = tool(effect="pure")(read_mail)
    approved = tool(approve=True)(send_mail)
    assert problems(mail().chain(fetch, assistant(Page, reading, approved))) == []
    assert problems(mail().chain(fetch, assistant(Page, tool(effect="pure")(look_up)))) == []
    assert problems(mail().chain(assistant(Url, send_mail))) == []


def test_predicate_is_no_approval() -> None:
    """A function that reads the arguments may be what an attacker writes them for."""
    sending = tool(approve=lambda to: to != "boss")(send_mail)
    assert len(problems(mail().chain(fetch, assistant(Page, sending)))) == 1


def test_gate_does_not_see_what_tools_return() -> None:
    """A gate before an agent approves what it reads then, not what its own tools give it later."""

    @agent(output=Sent, tools=[tool(effect="pure")(read_mail), send_mail], gate="before")
    def gated(page: Page) -> str:
        return page.text

    @agent(output=Sent, tools=[send_mail], gate="before")
    def plain(page: Page) -> str:
        return page.text

    assert len(problems(mail().chain(fetch, gated))) == 1
    assert problems(mail().chain(fetch, plain)) == []


def test_agent_of_map_worker_is_looked_at() -> None:
    """The tools of a worker count like those of a node."""

    class Job(BaseModel):
        job: str

    @agent(output=Sent, tools=[send_mail])
    def work(job: Job) -> str:
        return job.job

    def list_jobs(page: Page) -> list[Job]:
        return []

    def gather(results: list[Sent]) -> Sent:
        return Sent()

    graph = mail()
    each = graph.map("each", work, over=list_jobs, gather=gather, max_items=3)
    assert only(graph.chain(fetch, each)).where == "node 'each/work'"


# ---- flows inside --------------------------------------------------------------------------------
def sending(*, asks: bool = False) -> Flow[Any, Any, Any]:
    graph = Graph("sending", Mail, input=Summary, output=Sent)
    if asks:
        ask = graph.ask("approve", question=lambda s: s.summary, answer=Verdict)
        return graph.chain(ask, send).build()
    return graph.chain(send).build()


def test_effect_inside_sub_flow_is_found() -> None:
    """The way leads through the sub-flow, with the paths of its nodes."""
    graph = mail()

    def enter(summary: Summary) -> Summary:
        return summary

    team = graph.sub("team", sending(), enter=enter, leave=lambda sent: sent)
    problem = only(graph.chain(fetch, summarise, team))
    assert problem.where == "node 'team/send'"
    assert problem.what.endswith(
        "'summarise' (text → summary) → 'team' (reads summary) → 'team/send' (reads summary)"
    )
    other = mail()
    trusting = other.sub("team", sending(), enter=lambda s: Summary(summary=s.url), leave=_same)
    assert problems(other.chain(fetch, trusting)) == []


def test_question_inside_sub_flow_ends_marks() -> None:
    """A sub-flow that asks on every way is a question for the graph around it."""
    graph = mail()
    team = graph.sub("team", sending(asks=True), enter=_summary, leave=_same)
    assert problems(graph.chain(fetch, summarise, team, send)) == []


def test_route_to_sub_flow_with_effect_does_not_build() -> None:
    """An untrusted label decides about an effect inside of a sub-flow, too."""
    inner = Graph("ringing", Mail, input=Url, output=Sent).chain(ring).build()
    graph = mail().chain(fetch, classify)
    team = graph.sub("team", inner, enter=lambda s: Url(url=s.url), leave=_same)
    graph.route(classify, by_kind).when("pay", team).when("keep", keep).exhaustive()
    problem = only(graph)
    assert problem.where == "node 'team/ring'"
    assert "'classify' (text → kind, chooses by kind) → 'team' → 'team/ring'" in problem.what


def test_result_of_sub_flow_keeps_marks() -> None:
    """What a flow made of untrusted values, or fetched itself, is marked outside."""
    inner = Graph("reading", Mail, input=Url, output=Summary).chain(fetch, summarise).build()
    graph = mail()
    team = graph.sub("team", inner, enter=lambda s: Url(url=s.url), leave=_summary)
    problem = only(graph.chain(team, send))
    assert "'team' (what is inside → summary) → 'send' (reads summary)" in problem.what


def test_worker_of_map_with_effect_is_found() -> None:
    """An item that is made of untrusted values is untrusted for the worker."""

    class Job(BaseModel):
        job: str

    @node(effect="once")
    def work(job: Job) -> Sent: ...
    def list_jobs(page: Page) -> list[Job]:
        return [Job(job=page.text)]

    def gather(results: list[Sent]) -> Sent:
        return Sent()

    graph = mail()
    each = graph.map("each", work, over=list_jobs, gather=gather, max_items=3)
    problem = only(graph.chain(fetch, each))
    assert problem.where == "node 'each/work'"
    assert problem.what.endswith("'each' (reads text) → 'each/work' (reads item)")


def visiting(name: str = "each", **options: Any) -> Graph[Mail, Any, Any]:
    """Return a map whose items ring for an address and then fetch it: each gives untrusted text."""
    inner = Graph("visiting", Mail, input=Url, output=Page).chain(ring, fetch).build()
    graph = mail(output=Url)

    def gather(pages: list[Page]) -> Url:
        return Url(url="all")

    each = graph.map(
        name, inner, over=lambda s: [Url(url=s.url)], gather=gather, max_items=3, **options
    )
    return graph.chain(each)


def test_items_made_of_results_are_marked() -> None:
    """An item that an untrusted result grows is untrusted, so it reaches no effect in the map."""

    def grow(page: Page) -> list[Url]:
        return [Url(url=page.text)]

    assert problems(visiting()) == []
    problem = only(visiting(grow=grow))
    assert problem.where == "node 'each/ring'"
    assert problem.what.endswith("results of map 'each' → 'each/ring' (reads url)")


def test_agreement_on_untrusted_results_decides() -> None:
    """Whether further items act is decided by untrusted results, if these end the map."""

    def until(pages: list[Page]) -> bool:
        return "enough" in pages[0].text

    problem = only(visiting(until=until))
    assert problem.where == "node 'each/ring'"
    assert "results of map 'each' → 'each/ring'" in problem.what


def test_problem_of_flow_used_twice_is_reported_once() -> None:
    """A flow that is used in two places in the same way has its problem in the first one."""
    graph = mail()
    inner = sending()
    teams = [graph.sub(name, inner, enter=_summary, leave=_same) for name in ("one", "two")]
    assert only(graph.chain(fetch, summarise, *teams)).where == "node 'one/send'"


# ---- secrets -------------------------------------------------------------------------------------
def test_secret_in_prompt_does_not_build() -> None:
    """A prompt function must not read a secret."""

    @agent(output=Summary)
    def write(login: Login) -> str:
        return login.token

    problem = only(mail(input=Login).chain(write, keep))
    assert problem.code == "SECRET_FLOW"
    assert problem.what == (
        "a secret reaches the prompt of its model: START (token) → 'write' (reads token)"
    )


def test_what_is_made_of_secret_is_secret() -> None:
    """A node that reads a secret marks what it writes."""

    @node
    def open_session(login: Login) -> Url: ...
    @agent(output=Summary)
    def write(url: Url) -> str:
        return url.url

    problem = only(mail(input=Login).chain(open_session, write))
    assert "'open_session' (token → url) → 'write' (reads url)" in problem.what


def test_secret_in_output_does_not_build() -> None:
    """What a run returns is shown and stored by others."""
    problem = only(mail(input=Login, output=Login).chain(keep))
    assert problem.where == "output of graph 'mail'"
    assert problem.what.endswith("START (token) → 'keep' → END (reads token)")


def test_secret_in_code_that_asks_models_does_not_build() -> None:
    """A function that calls `ctx.complete` is a prompt."""

    @node
    async def write(ctx: Context[None], login: Login) -> Summary:
        return await ctx.complete(login.token, output=Summary)

    @node
    async def call(ctx: Context[None], login: Login) -> Summary:
        return Summary(summary=ctx.key + login.token)

    assert "ctx.complete()" in only(mail(input=Login).chain(write)).what
    assert problems(mail(input=Login).chain(call)) == []


def test_effect_may_use_secret() -> None:
    """A token is there to be used by what acts."""

    @node(effect="once")
    def pay(login: Login) -> Sent: ...
    @node(declassify="a receipt holds no token")
    def pay_safely(login: Login) -> Sent: ...

    assert len(problems(mail(input=Login).chain(pay))) == 1  # what it returned may hold the token
    assert problems(mail(input=Login).chain(pay_safely)) == []


def test_check_leaves_secret_that_it_read_secret() -> None:
    """A check that masks a secret writes what may be shown; the secret itself stays one."""

    @node(declassify="only the last digits")
    def mask(login: Login) -> Url: ...
    @agent(output=Summary)
    def write(url: Url, login: Login) -> str:
        return url.url

    assert "token" in only(mail(input=Login).chain(mask, write)).what


def test_secret_is_let_out_by_a_person() -> None:
    """A person may decide that a model gets a secret."""

    @agent(output=Summary)
    def write(login: Login) -> str:
        return login.token

    graph = mail(input=Login)
    ask = graph.ask("agree", question=lambda s: "Send the token to the model?", answer=Verdict)
    assert problems(graph.chain(ask, write)) == []


def _by_token(login: Login) -> str:
    return login.token


def _by_url(url: Url) -> str:
    return url.url


def test_secret_key_of_signal_does_not_build() -> None:
    """The key of a signal is in the journal, in pictures and in messages."""
    graph = mail(input=Login)
    problem = only(graph.chain(graph.signal("agreed", Verdict, key=_by_token)))
    assert (problem.code, problem.where) == ("SECRET_FLOW", "node 'agreed'")
    assert problem.what == (
        "a secret becomes the key of signal 'agreed', which journals, pictures and messages show: "
        "START (token) → 'agreed' (reads token)"
    )
    assert problem.fix.startswith("give a key that may be shown, such as an id")


def test_key_made_of_secret_does_not_build() -> None:
    """What a node makes of a secret is no key, unless the node is a check."""

    @node
    def open_session(login: Login) -> Url: ...
    @node(declassify="a digest of the token")
    def digest(login: Login) -> Url: ...

    for first, count in ((open_session, 1), (digest, 0)):
        graph = mail(input=Login)
        signal = graph.signal("agreed", Verdict, key=_by_url)
        assert len(problems(graph.chain(first, signal))) == count


def test_person_may_let_secret_be_key() -> None:
    """A person may decide that a secret becomes a key."""
    graph = mail(input=Login)
    ask = graph.ask("agree", question=lambda s: "May it be seen?", answer=Verdict)
    signal = graph.signal("agreed", Verdict, key=_by_token)
    assert problems(graph.chain(ask, signal)) == []


@pytest.mark.parametrize("kind", ["map", "sub-flow"])
def test_secret_key_of_cancel_signal_does_not_build(kind: str) -> None:
    """A map or sub-flow that a signal ends records the key of the signal when it is entered."""
    graph = mail(input=Login)
    signal = graph.signal("enough", Verdict, key=_by_token, expires=60.0)
    inner = Graph("inner", Url).chain(visit).build()
    work: Any
    if kind == "map":
        work = graph.map(
            "each",
            inner,
            over=lambda state: [Url(url=state.url)],
            gather=_first_url,
            max_items=2,
            cancel_on=signal,
        )
    else:
        work = graph.sub("work", inner, enter=_same_url, leave=_same_url, cancel_on=signal)
    graph.chain([work, signal], keep)
    found = [problem.what for problem in problems(graph)]
    what = "a secret becomes the key of signal 'enough'"
    assert len(found) == 2
    assert all(text.startswith(what) for text in found)


# ---- all at once ---------------------------------------------------------------------------------
def test_all_problems_are_reported_together() -> None:
    """One error lists each effect, each prompt, and what else is wrong with the graph."""

    @agent(output=Summary)
    def leak(page: Page, login: Login) -> str:
        return ""

    graph = Graph("mail", Mail, input=Login, output=Sent).chain(fetch, leak, send)
    graph.loop(send, back_to=fetch, while_=lambda s: True, max_iterations=0)
    with pytest.raises(GraphError) as raised:
        graph.build()
    codes = [problem.code for problem in raised.value.problems]
    assert sorted(codes) == ["LOOP_BOUND", "SECRET_FLOW", "SECRET_FLOW", "UNTRUSTED_FLOW"]


def test_graph_without_marks_is_not_looked_at() -> None:
    """A plan without marks keeps nothing about them."""
    flow = Graph("plain", Mail, input=Url, output=Sent).chain(keep)
    assert flow.build().plan.marked is not None  # its state declares marks

    class Plain(Url, Sent): ...

    assert Graph("plain", Plain, input=Url, output=Sent).chain(keep).build().plan.marked is None


def _summary(summary: Summary) -> Summary:
    return summary


def _same(sent: Sent) -> Sent:
    return sent


def _first_url(urls: list[Url]) -> Url:
    return urls[0]


def _same_url(url: Url) -> Url:
    return url

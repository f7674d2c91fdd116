"""Inputs and outputs of nodes, and the message for every way in which either can be wrong."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel

from graphorch import (
    Failure,
    Graph,
    LoopExhausted,
    Missing,
    Node,
    QuorumNotMet,
    TooManyItems,
    WrongOutput,
    append,
)
from graphorch.core.events import (
    EvaluateRoute,
    LeaveScope,
    NodeFailed,
    NodeSucceeded,
    Routed,
    RouteDecision,
    RunStarted,
    ScopeEntered,
)
from graphorch.core.run import Run
from graphorch.core.tree import Activation
from graphorch.engine.invocation import binding
from graphorch.graph.node import choose_node_class
from graphorch.graph.signature import read_signature


class Number(BaseModel):
    n: int = 0


class Name(BaseModel):
    name: str


class Log(BaseModel):
    log: Annotated[list[str], append] = []


class Items(BaseModel):
    items: list[Number] = []


class State(Number, Log, Items): ...


class Named(Number, Name): ...


AnyNode = Node[Any]


class Driver:
    """Run by hand: the test decides what its nodes return."""

    def __init__(self, flow: Any, **values: Any) -> None:
        self.plan = flow.plan
        self.run = Run(self.plan, "r")
        given = self.plan.input.model_construct(set(values), **values)
        self.commands = self.run.handle(RunStarted(self.plan.read_input.update(given)))

    @property
    def started(self) -> Activation:
        (command,) = self.commands
        assert isinstance(command, Activation)
        return command

    def returns(self, output: Any) -> None:
        activation = self.started
        given = binding.bind_arguments(activation)
        self.commands = self.run.handle(
            NodeSucceeded(
                activation, binding.build_update(activation.step, output, given, activation.version)
            )
        )

    @property
    def deciding(self) -> Activation:
        (command,) = self.commands
        assert isinstance(command, EvaluateRoute)
        return command.activation


def only(fn: Any, state: type[BaseModel] = State) -> Any:
    """Build a flow of a single node."""
    return Graph("only", state).chain(made(fn)).build()


def made(fn: Any, name: str = "it") -> AnyNode:
    signature = read_signature(fn, {})
    return choose_node_class(signature)(fn, signature, name=name)


def looks(number: Number) -> None: ...
def counts(number: Number) -> Number:
    return number


def may_count(number: Number) -> Number | None:
    return None


def says(number: Number) -> Log:
    return Log()


def both(number: Number) -> tuple[Number, Log]:
    return number, Log()


def greets(name: Name | None, number: Number) -> Number:
    return number


def needs(name: Name) -> None: ...


def update_of(fn: Any, output: object) -> dict[str, Any]:
    """Return the update that an output becomes, by field."""
    driver = Driver(only(fn))
    activation = driver.started
    update = binding.build_update(
        activation.step, output, binding.bind_arguments(activation), activation.version
    )
    return named(driver, update)


def named(driver: Driver, update: dict[int, Any]) -> dict[str, Any]:
    return {driver.plan.schema.fields[index].name: value for index, value in update.items()}


def left(driver: Driver, activation: Activation) -> dict[str, Any]:
    return named(driver, binding.gather_children(activation))


# ---- in ------------------------------------------------------------------------------------------
def test_arguments_follow_parameters() -> None:
    def two(log: Log, number: Number) -> None: ...

    log, number = binding.bind_arguments(Driver(only(two), n=3, log=["a"]).started)
    assert (log, number) == (Log(log=["a"]), Number(n=3))


@pytest.mark.parametrize("values, name", [({}, None), ({"name": "x"}, Name(name="x"))])
def test_optional_slice_is_none_until_assigned(values: dict[str, Any], name: Name | None) -> None:
    assert binding.bind_arguments(Driver(only(greets, Named), **values).started)[0] == name


def test_unassigned_field_is_missing_input() -> None:
    with pytest.raises(
        binding.MissingInput, match=r"'Name.name' was read, but nothing has assigned it in this run"
    ):
        binding.bind_arguments(Driver(only(needs, Named)).started)


@pytest.mark.parametrize("at", [0, 1])
def test_handler_gets_failure(at: int) -> None:
    """Handlers get the failure at the place of its parameter."""

    def first(failure: Failure, number: Number) -> None: ...
    def second(number: Number, failure: Failure) -> None: ...

    graph, worker = Graph("handled", State), made(looks, "worker")
    graph.chain(worker).on_error(worker, made([first, second][at], "handler"), when=ValueError)
    driver = Driver(graph.build(), n=7)
    activation = driver.started
    activation.attempt = 2
    driver.commands = driver.run.handle(NodeFailed(activation, 2, ValueError("no"), handler=0))
    given = binding.bind_arguments(driver.started)
    assert given[at] == Failure(
        node="worker", path="worker", error="ValueError", message="no", attempt=2
    )
    assert given[1 - at] == Number(n=7)


# ---- out -----------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "fn, output, update",
    [
        (looks, None, {}),
        (counts, Number(n=1), {"n": 1}),
        (counts, Number(), {}),
        (may_count, None, {}),
        (may_count, Number(n=1), {"n": 1}),
        (both, (Number(n=1), Log(log=["a"])), {"n": 1, "log": ["a"]}),
    ],
)
def test_update_holds_fields_set(fn: Any, output: object, update: dict[str, Any]) -> None:
    assert update_of(fn, output) == update


@pytest.mark.parametrize(
    "fn, output, message",
    [
        (
            looks,
            Number(),
            "It returned Number, but declares that it returns None. "
            "Annotate the slice that it writes.",
        ),
        (
            counts,
            None,
            "It returned nothing, but declares Number. Return a Number, or declare "
            "`Number | None` if it may write nothing.",
        ),
        (counts, Log(), "It returned Log Log(log=[]), but declares Number. Return a Number."),
        (both, Number(), "It returned Number, but declares a tuple of 2 slices. Return them all."),
        (
            both,
            (Number(),),
            "It returned tuple, but declares a tuple of 2 slices. Return them all.",
        ),
        (
            both,
            [Number(), Log()],
            "It returned list, but declares a tuple of 2 slices. Return them all.",
        ),
        (
            both,
            (Log(), Number()),
            "It returned Log Log(log=[]), but declares Number. Return a Number.",
        ),
    ],
)
def test_undeclared_output_is_refused(fn: Any, output: object, message: str) -> None:
    with pytest.raises(WrongOutput) as caught:
        update_of(fn, output)
    assert str(caught.value) == message


def test_field_set_twice_is_refused() -> None:
    class Wide(Number):
        name: str = ""

    class Both(Wide): ...

    def twice(number: Number) -> tuple[Number, Wide]: ...  # type: ignore[empty-body]

    signature = read_signature(twice, {"Wide": Wide})
    twin: AnyNode = Node(twice, signature, name="twice")
    driver = Driver(Graph("twice", Both).chain(twin).build())
    activation = driver.started
    with pytest.raises(
        WrongOutput, match=r"Two slices that it returned set field number 0. Set it in one of them."
    ):
        binding.build_update(activation.step, (Number(n=1), Wide(n=2)), [], activation.version)


def test_returned_input_counts_with_changes() -> None:
    activation = Driver(only(counts), n=1).started
    given = binding.bind_arguments(activation)
    given[0].n = 5
    assert list(
        binding.build_update(activation.step, given[0], given, activation.version).values()
    ) == [5]
    equal = Number.model_construct(set(), n=5)
    assert binding.build_update(activation.step, equal, given, activation.version) == {}


# ---- maps and sub-flows --------------------------------------------------------------------------
def sum_of(numbers: list[Number]) -> Number:
    return Number(n=sum(number.n for number in numbers))


def list_numbers(numbers: list[Number], missing: list[Missing]) -> Log:
    return Log(
        log=[f"{number.n}" for number in numbers]
        + [f"{item.index} {item.reason}" for item in missing]
    )


def mapped(gather: Any = sum_of, **options: Any) -> Any:
    graph = Graph("mapped", State)
    work: Any = made(counts, "work")
    return graph.chain(
        graph.map("each", work, over=lambda s: s.items, gather=gather, max_items=3, **options)
    ).build()


def entered(flow: Any, count: int) -> tuple[Driver, Activation]:
    driver = Driver(flow, items=[Number(n=number) for number in range(count)])
    activation = driver.started
    driver.commands = driver.run.handle(ScopeEntered(activation, binding.build_items(activation)))
    return driver, activation


def test_items_become_inputs() -> None:
    driver, activation = entered(mapped(), 3)
    assert [
        binding.bind_arguments(command)[0].n
        for command in driver.commands
        if isinstance(command, Activation)
    ] == [0, 1, 2]
    assert len(binding.build_items(activation)) == 3


def test_too_many_items_are_refused() -> None:
    with pytest.raises(
        TooManyItems,
        match=r"4 items came, and max_items is 3. Raise max_items, or make fewer items.",
    ):
        entered(mapped(), 4)


def finish(driver: Driver, failing: dict[int, str]) -> Activation:
    """Let every item succeed with its number plus ten, or fail."""
    items = [command for command in driver.commands if isinstance(command, Activation)]
    left: Activation | None = None
    for index, item in enumerate(items):
        if index in failing:
            commands = driver.run.handle(NodeFailed(item, 1, ValueError(failing[index])))
        else:
            commands = driver.run.handle(
                NodeSucceeded(
                    item, binding.build_update(item.step, Number(n=index + 10), [], item.version)
                )
            )
        left = next(
            (command.activation for command in commands if isinstance(command, LeaveScope)), left
        )
    assert left is not None
    return left


def test_gather_keeps_order_of_items() -> None:
    driver, _ = entered(mapped(), 3)
    assert left(driver, finish(driver, {})) == {"n": 10 + 11 + 12}


def test_gather_gets_missing_with_reasons() -> None:
    driver, _ = entered(mapped(list_numbers, on_item_error="collect"), 3)
    assert left(driver, finish(driver, {1: "broken"})) == {"log": ["10", "12", "1 broken"]}


def test_quorum_error_gives_reasons() -> None:
    driver, _ = entered(mapped(list_numbers, need=2, on_item_error="collect"), 2)
    with pytest.raises(QuorumNotMet, match=r"2 results are needed, and 1 came: item 0: broken"):
        binding.gather_children(finish(driver, {0: "broken"}))


def test_gather_of_empty_list() -> None:
    driver, activation = entered(mapped(), 0)
    assert [type(command) for command in driver.commands] == [LeaveScope]
    assert left(driver, activation) == {"n": 0}


def test_sub_flow_uses_enter_and_leave() -> None:
    inner = Graph("inner", State).chain(made(counts, "count")).build()
    graph = Graph("outer", State)
    graph.chain(
        graph.sub(
            "team", inner, enter=lambda s: State(n=s.n + 1), leave=lambda s: Log(log=[f"{s.n}"])
        )
    )
    driver = Driver(graph.build(), n=1)
    activation = driver.started
    assert [named(driver, item) for item in binding.build_items(activation)] == [{"n": 2}]
    driver.commands = driver.run.handle(ScopeEntered(activation, binding.build_items(activation)))
    item = driver.started
    (command,) = driver.run.handle(
        NodeSucceeded(item, binding.build_update(item.step, Number(n=7), [], item.version))
    )
    assert isinstance(command, LeaveScope)
    assert left(driver, command.activation) == {"log": ["7"]}


# ---- ways ----------------------------------------------------------------------------------------
def parity(number: Number) -> Literal["even", "odd"]:
    return "odd" if number.n % 2 else "even"


def routed(by: Any = parity) -> Any:
    graph, first = Graph("routed", State), made(counts, "first")
    graph.route(first, by).when("even", made(looks, "a")).when("odd", made(looks, "b")).exhaustive()
    return graph.build()


def targets(driver: Driver) -> list[str]:
    activation = driver.deciding
    return [
        driver.plan.steps[edge.target].name for edge in binding.evaluate_route(activation).edges
    ]


@pytest.mark.parametrize("n, target", [(2, ["a"]), (3, ["b"])])
def test_route_reads_new_values(n: int, target: list[str]) -> None:
    driver = Driver(routed(), n=0)
    driver.returns(Number(n=n))
    assert targets(driver) == target


def test_unknown_label_suggests_nearest() -> None:
    def wrong(number: Number) -> Literal["even", "odd"]:
        return "evn"  # type: ignore[return-value]

    driver = Driver(routed(wrong))
    driver.returns(Number(n=1))
    with pytest.raises(
        WrongOutput,
        match=r"The selector 'wrong' returned 'evn', which leads nowhere. "
        r"Did you mean 'even'\? Known: even, odd.",
    ):
        targets(driver)


def test_several_labels_take_edges_once() -> None:
    """Several labels take each edge once, in the order of the edges."""

    def some(number: Number) -> set[Literal["even", "odd"]]:
        return {"odd", "even"} if number.n else set()

    driver = Driver(routed(some))
    driver.returns(Number(n=1))
    assert targets(driver) == ["a", "b"]
    driver = Driver(routed(some))
    driver.returns(Number(n=0))
    with pytest.raises(
        WrongOutput, match=r"The selector 'some' returned no label. Return at least one."
    ):
        targets(driver)


def looped(exhausted: Any) -> Any:
    graph, first = Graph("looped", State), made(counts, "first")
    graph.chain(first, made(looks, "end"))
    graph.loop(
        first, back_to=first, while_=lambda s: s.n < 9, max_iterations=2, exhausted=exhausted
    )
    return graph.build()


def test_loop_repeats_while_allowed() -> None:
    """Loops repeat while their condition holds and their bound is not reached."""
    driver = Driver(looped("continue"))
    driver.returns(Number(n=9))
    assert binding.evaluate_route(driver.deciding) == RouteDecision()
    driver = Driver(looped("continue"))
    driver.returns(Number(n=1))
    assert binding.evaluate_route(driver.deciding) == RouteDecision(loop=0)


@pytest.mark.parametrize("exhausted", ["continue", "node", "fail"])
def test_loop_ends_at_bound(exhausted: str) -> None:
    """Loops end at their bound as their option says."""
    driver = Driver(looped(made(looks, "instead") if exhausted == "node" else exhausted))
    driver.returns(Number(n=1))
    activation = driver.deciding
    driver.commands = driver.run.handle(routed_event(activation))
    driver.returns(Number(n=2))
    if exhausted == "fail":
        with pytest.raises(
            LoopExhausted,
            match=r"The loop back to 'first' ran 2 times, and '<lambda>' still holds.",
        ):
            binding.evaluate_route(driver.deciding)
    else:
        assert binding.evaluate_route(driver.deciding) == RouteDecision(exhausted=0)


def routed_event(activation: Activation) -> Routed:
    return Routed(activation, binding.evaluate_route(activation))

"""Late work: what a decision leaves unfinished and lets go on (`rest="finish"`).

Rule 1: a `need=k` join that lets its losers finish moves what is in its region, activations and
    waiting tokens, into a scope of its own beside the one that goes on: paths and ids stay what
    they would have been. Joins inside the region still join, and joins behind it wait for nothing
    there. A map that has as many results as it needs leaves its unfinished items in the same way.
Rule 2: a token that reaches the join which has decided is late: it is consumed by name, and starts
    nothing. So is the result of a late item.
Rule 3: what failed for good in late work is a dead path, whatever the run does about failures. It
    is a failure of the run all the same, which is `partial` at best.
Rule 4: a scope is over when its END has fired and its late work has ended. If that only waits for
    people and events, it is withdrawn. So a sub-flow, an item of a map and a run wait for their
    losers.
Rule 5: late work belongs to the node that decided. What cancels the region of this node cancels
    its late work too; a decision that lets the region finish takes it along.
Rule 6: until late work has ended, its position is live for the header of each loop around it: an
    iteration begins once the losers of the one before have ended, so no path is open twice.

These are functions over scopes alone. When they are called is decided in `firing.py`,
`children.py` and `run.py`.
"""

from __future__ import annotations

from collections.abc import Container

from graphorch.core.state import append_to
from graphorch.core.tree import Late, Scope, Status, Token
from graphorch.graph.plan import Step


def detach_region(scope: Scope, join: Step) -> Scope | None:
    """Move what is in the region of a join into a scope of its own; None if nothing is there.

    An activation whose commit decides is over and stays: it is ended where it is. The positions
    of what was moved are still live in `scope`.
    """
    late = Scope(scope.plan, scope.origin, scope.parent, scope.item)
    late.set_prefix(scope.prefix)
    late.waiting = dict[int, list[Token]]()
    late.watchers, late.arrivals = {}, dict(scope.arrivals)
    late.arrived = scope.arrived
    for node in join.region:
        _move_node(scope, late, node)
    taken_along = list_late(scope, join.region)
    for other in taken_along:
        assert other.late is not None
        forget(other)
        _attach(other, other.late._replace(host=late))
    if not (late.active or late.waiting or taken_along):
        return None
    late.busy_count = sum(item.status <= Status.RETRYING for item in late.active.values())
    late.busy_count += sum(
        item.children is not None and item.children.is_reviewing for item in late.active.values()
    )
    late.busy_count += sum(inner.busy_count > 0 for inner in late.child_scopes())
    # Its work counts as one from now on.
    scope.busy_count -= late.busy_count - (late.busy_count > 0)
    _attach(late, Late(scope, join.index, is_region=True))
    return late


def detach_item(scope: Scope, item: Scope, node: int) -> None:
    """Let an unfinished item of the map at a node of `scope` go on when the map has enough."""
    _attach(item, Late(scope, node, is_region=False))


def forget(late: Scope) -> bool:
    """Take late work that is over, or is cancelled, off the list of its host.

    Return whether that was the last of its node, whose position is not live any more.
    """
    assert late.late is not None
    host, node, _ = late.late
    host.detached = [other for other in host.detached if other is not late]
    if list_late(host, (node,)):
        return False
    host.live_positions &= ~host.steps[node].late_bit
    return True


def list_late(scope: Scope, nodes: Container[int]) -> list[Scope]:
    """Return the late work of these nodes of a scope."""
    return [other for other in scope.detached if other.late and other.late.node in nodes]


def find_home(scope: Scope) -> Scope:
    """Return the scope whose joins left this one as late work; itself, if it is none of a join."""
    while scope.late is not None and scope.late.is_region:
        scope = scope.late.host
    return scope


def is_late_arrival(scope: Scope, node: int) -> bool:
    """Return whether a token at a node comes after its decision."""
    late = scope.late
    return late is not None and late.is_region and late.node == node


def _attach(scope: Scope, late: Late) -> None:
    scope.late = late
    late.host.detached = append_to(late.host.detached, (scope,))
    late.host.live_positions |= late.host.steps[late.node].late_bit


def _move_node(scope: Scope, late: Scope, node: int) -> None:
    """Move the activation that is active at a node, and the tokens that wait there."""
    step = scope.steps[node]
    activation = scope.active.get(node)
    if activation is not None and not activation.is_over:
        del scope.active[node]
        activation.scope = late
        late.active[node] = activation
        late.live_positions |= step.bit
    if node in scope.waiting:
        tokens = late.waiting[node] = scope.waiting.pop(node)
        late.due |= 1 << node
        for token in tokens:
            late.live_positions |= step.latch_bit if token.edge.kind == "loop" else step.bit

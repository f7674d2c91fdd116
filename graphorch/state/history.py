"""Histories of reducer fields: writes in canonical order, which share what they have in common.

Theory of operation. A history grows at its end: a write that has seen all others is linked to the
history before it. When histories are united, they become trees: binary tries over the canonical
order of the writes [1]. The shape of such a tree depends on its writes alone, and each node carries
a digest of the writes below it, so equal parts are found at once, although different joins made
them. Uniting costs as much as the histories differ, times the logarithm of their length.

Rule 1: a write, a history and a tree are never changed, apart from the tree that a history keeps.
Rule 2: canonical order decides, never the order in which histories are united.
Rule 3: writes are equal if they are the same object; two writes of one history differ in order.

[1] Okasaki, Gill: Fast Mergeable Integer Maps. Workshop on ML, 1998.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

from graphorch.errors import InternalError

Order: TypeAlias = int
"""Canonical order: depth * WIDTH + declaration index of the node; the input comes first."""

_DIGEST_BYTES = 16
_LINKED_PER_BRANCH = 8  # writes up to which linking them is cheaper than making trees


class Write:
    """One write of a reducer field, by the node with this name; a leaf of a tree."""

    __slots__ = ("_digest", "by", "order", "update")

    bit = 0
    size = 1

    def __init__(self, order: Order, update: Any, by: str) -> None:
        self.order = order
        self.update = update
        self.by = by
        self._digest = 0

    @property
    def digest(self) -> int:
        """Digest of the identity of the write; two live writes have the same one by no chance."""
        if not self._digest:
            identity = id(self).to_bytes(8, "big")
            digest = hashlib.blake2b(identity, digest_size=_DIGEST_BYTES).digest()
            self._digest = int.from_bytes(digest, "big")
        return self._digest


class _Branch:
    """Inner node of a tree.

    The orders below it are equal above `bit`, as in `order`. `left` holds those without that bit.
    """

    __slots__ = ("bit", "digest", "left", "order", "right", "size")

    def __init__(self, bit: int, left: _Tree, right: _Tree) -> None:
        self.bit = bit
        self.order = left.order & -bit  # the bit itself is not set on the left
        self.left = left
        self.right = right
        self.size: int = left.size + right.size
        self.digest: int = left.digest ^ right.digest


_Tree: TypeAlias = "Write | _Branch"


class History:
    """Writes that a version has seen: `write` behind those of `previous`, or those of a tree."""

    __slots__ = ("_tree", "last_order", "previous", "size", "write")

    def __init__(self, previous: History | None, write: Write) -> None:
        self.previous = previous
        self.write = write  # the last one
        self.last_order: Order = write.order
        self.size: int = 1 if previous is None else previous.size + 1
        self._tree: _Tree | None = None

    @property
    def has_tree(self) -> bool:
        """Whether a tree was made, which replaces the link to the history before."""
        return self._tree is not None

    @classmethod
    def of_tree(cls, tree: _Tree) -> History:
        """Return the history of all writes in a tree."""
        last = tree
        while isinstance(last, _Branch):
            last = last.right
        history = cls(None, last)
        history.size, history._tree = tree.size, tree
        return history

    def begins_with(self, other: History) -> bool:
        """Return whether a history of some of these writes holds the first of them.

        Takes time proportional to the logarithm of the length, if a tree was made.
        """
        if other is self or other.size == self.size:
            return True
        return _count_up_to(self.tree(), other.last_order) == other.size

    def list_after(self, count: int) -> list[Write]:
        """Return the writes but the first ones, in canonical order."""
        last: list[Write] = []
        history: History | None = self
        # Those that were linked, last one first, and those of a tree before them.
        while history is not None and history.size > count and history._tree is None:
            last.append(history.write)
            history = history.previous
        if history is None or history.size <= count:
            return last[::-1]
        assert history._tree is not None
        return [*_iterate(history._tree, count), *reversed(last)]

    def tree(self) -> _Tree:
        """Return the writes as a tree, made once; each write that was only linked is put in."""
        linked: list[History] = []
        history: History | None = self
        while history is not None and history._tree is None:
            linked.append(history)
            history = history.previous
        tree = history._tree if history is not None else None
        for history in reversed(linked):
            tree = history.write if tree is None else _merge(tree, history.write)
            history._tree, history.previous = tree, None
        assert tree is not None
        return tree


def unite_branches(base: History | None, branches: Sequence[History]) -> History | None:
    """Return the history of the branches of one fork, or None if it takes trees to tell.

    `base` is what they have in common. A fast path of `unite_histories` for branches that wrote
    little since the fork; tests/state/test_history.py compares both.
    """
    writes: dict[Order, Write] = {}
    limit = _LINKED_PER_BRANCH * len(branches)
    for branch in branches:
        history: History | None = branch
        while history is not base:
            if history is None or history.has_tree or not limit:
                return None
            limit -= 1
            writes[history.last_order] = history.write
            history = history.previous
    orders = sorted(writes)
    if base is not None and orders and orders[0] < base.last_order:
        return None
    united = base
    for order in orders:
        united = History(united, writes[order])
    return united


def unite_histories(left: History, right: History) -> History:
    """Return the history with the writes of both, each once; one of them if it has them all."""
    if left is right:
        return left
    left_tree, right_tree = left.tree(), right.tree()
    tree = _merge(left_tree, right_tree)
    if tree is left_tree:
        return left
    return right if tree is right_tree else History.of_tree(tree)


def _merge(left: _Tree, right: _Tree) -> _Tree:
    """Return the tree of both, or one of them if it holds everything."""
    if left is right or (left.size == right.size and left.digest == right.digest):
        return left
    if left.bit == right.bit and left.order == right.order:
        return _merge_children(left, right)
    if left.bit > right.bit and _is_below(right, left):
        return _merge_below(left, right)
    if right.bit > left.bit and _is_below(left, right):
        return _merge_below(right, left)
    # They differ above both: a new branch at the highest bit in which they differ.
    bit = 1 << ((left.order ^ right.order).bit_length() - 1)
    return _Branch(bit, right, left) if left.order & bit else _Branch(bit, left, right)


def _is_below(tree: _Tree, branch: _Tree) -> bool:
    """Return whether the orders of a tree belong below a branch."""
    return (tree.order ^ branch.order) < branch.bit << 1


def _merge_children(left: _Tree, right: _Tree) -> _Tree:
    """Merge two branches of the same orders, child by child."""
    if not (isinstance(left, _Branch) and isinstance(right, _Branch)):
        raise InternalError(
            "Two writes of a reducer field have one place in canonical order. Please report this "
            "as a bug of graphorch."
        )
    low, high = _merge(left.left, right.left), _merge(left.right, right.right)
    for tree in (left, right):
        if tree.size == low.size + high.size:
            return tree  # it holds them all
    return _Branch(left.bit, low, high)


def _merge_below(tree: _Tree, smaller: _Tree) -> _Tree:
    """Merge a tree into the child of a branch that it belongs to."""
    assert isinstance(tree, _Branch)
    is_right = bool(smaller.order & tree.bit)
    child = tree.right if is_right else tree.left
    merged = _merge(child, smaller)
    if merged.size == child.size:
        return tree  # it holds them all
    if is_right:
        return _Branch(tree.bit, tree.left, merged)
    return _Branch(tree.bit, merged, tree.right)


def _count_up_to(tree: _Tree, order: Order) -> int:
    """Return how many writes have at most this order."""
    count = 0
    while isinstance(tree, _Branch):
        if (order ^ tree.order) >= tree.bit << 1:  # beyond all of them, or before
            return count + (tree.size if order > tree.order else 0)
        if order & tree.bit:
            count += tree.left.size
            tree = tree.right
        else:
            tree = tree.left
    return count + (tree.order <= order)


def _iterate(tree: _Tree, skipped: int) -> Iterator[Write]:
    """Yield the writes in canonical order, without the first ones."""
    pending = [tree]
    while pending:
        node = pending.pop()
        if skipped >= node.size:
            skipped -= node.size
        elif isinstance(node, _Branch):
            pending += (node.right, node.left)
        else:
            yield node

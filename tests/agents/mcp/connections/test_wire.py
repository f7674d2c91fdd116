"""Lines of a server's output: cut, bounded, and matched with requests."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphorch.agents.mcp.connections.wire import Line, LineCutter

PIECES = st.lists(st.binary(max_size=30) | st.just(b"\n"), max_size=12)


@given(PIECES, st.integers(1, 50))
def test_cutter_finds_lines_in_any_pieces(pieces: list[bytes], longest: int) -> None:
    """The lines do not depend on the pieces in which they come, nor does what is kept of them."""
    cutter = LineCutter(longest)
    lines = [line for piece in pieces for line in cutter.feed(piece)]
    expected = b"".join(pieces).split(b"\n")[:-1]
    assert [line.size for line in lines] == [len(line) for line in expected]
    for line, whole in zip(lines, expected, strict=True):
        assert whole.startswith(line.head)
        assert whole.endswith(line.tail)
        if len(whole) <= longest:
            assert line == Line(whole, b"", len(whole))


def test_long_line_is_not_kept() -> None:
    """Of a line beyond the limit only both ends stay in memory, while it comes and after."""
    cutter = LineCutter(1_000)
    for _ in range(100):
        assert [*cutter.feed(b"x" * 999)] == []
        assert len(cutter._buffer) <= 2_000  # pyright: ignore[reportPrivateUsage]
    (line,) = cutter.feed(b'"id":7}\n')
    assert line.size == 99_907
    assert not line.is_whole
    assert len(line.head) + len(line.tail) < 2_500
    (following,) = cutter.feed(b"short\n")
    assert following == Line(b"short", b"", 5)


@pytest.mark.parametrize(
    ("line", "request_id"),
    [
        (b'{"jsonrpc":"2.0","id":3,"result":{}}', 3),
        (b'{"id": 3, "result":{}}', 3),
        (b'{"result":{"id":9},"jsonrpc":"2.0","id":3}', 3),
        (b'{"result":{},"id":3,"jsonrpc":"2.0"}', 3),
        (b'{"jsonrpc":"2.0","method":"log","params":{"id":9}}', None),
        (b"Listening on port 8000", None),
        (b'{"jsonrpc":"2.0","id":"a","result":{}}', None),
    ],
)
def test_request_is_found_at_either_end(line: bytes, request_id: int | None) -> None:
    """The number of the request is read at the beginning or the end of a message."""
    assert Line(line, b"", len(line)).find_request() == request_id

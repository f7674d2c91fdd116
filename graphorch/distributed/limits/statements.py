"""Statements on the tables of shared limits; each is a transaction of its own."""

from __future__ import annotations

from typing import Final

READ_CLOCK: Final = "SELECT graphorch.now()"

# The share of this process, and those of others that hold more than they have used.
READ_SPENDING: Final = """
SELECT s.usd, s.tokens, s.calls, b.process = %(process)s,
    b.usd, b.tokens, b.calls, b.used_usd, b.used_tokens, b.used_calls
FROM graphorch.spending AS s
LEFT JOIN graphorch.spending_shares AS b ON b.key = s.key AND (
    b.process = %(process)s
    OR (b.usd, b.tokens, b.calls) <> (b.used_usd, b.used_tokens, b.used_calls)
)
WHERE s.key = %(key)s
"""

ADD_SPENDING: Final = """
WITH added AS (
    INSERT INTO graphorch.spending (key) VALUES (%(key)s) ON CONFLICT DO NOTHING
)
INSERT INTO graphorch.spending_shares (key, process) VALUES (%(key)s, %(process)s)
ON CONFLICT DO NOTHING
"""

# The own share is locked first. A statement of a lost connection that is still under way has it,
# and if that one changed it, this one changes nothing.
CHANGE_SPENDING: Final = """
WITH mine AS (
    SELECT usd, tokens, calls FROM graphorch.spending_shares
    WHERE key = %(key)s AND process = %(process)s FOR UPDATE
), changed AS (
    UPDATE graphorch.spending AS s SET
        usd = s.usd + %(usd)s::numeric - mine.usd,
        tokens = s.tokens + %(tokens)s::numeric - mine.tokens,
        calls = s.calls + %(calls)s::numeric - mine.calls
    FROM mine
    WHERE s.key = %(key)s
    AND (mine.usd, mine.tokens, mine.calls)
        = (%(own_usd)s::numeric, %(own_tokens)s::numeric, %(own_calls)s::numeric)
    AND (%(usd_cap)s::numeric IS NULL OR s.usd + %(usd)s::numeric - mine.usd <= %(usd_cap)s)
    AND (%(tokens_cap)s::numeric IS NULL
        OR s.tokens + %(tokens)s::numeric - mine.tokens <= %(tokens_cap)s)
    AND (%(calls_cap)s::numeric IS NULL
        OR s.calls + %(calls)s::numeric - mine.calls <= %(calls_cap)s)
    RETURNING s.key
)
UPDATE graphorch.spending_shares AS b SET
    usd = %(usd)s, tokens = %(tokens)s, calls = %(calls)s,
    used_usd = %(used_usd)s, used_tokens = %(used_tokens)s, used_calls = %(used_calls)s
FROM changed WHERE b.key = changed.key AND b.process = %(process)s
RETURNING 1
"""

LEAVE_SPENDING: Final = """
DELETE FROM graphorch.spending_shares WHERE key = %(key)s AND process = %(process)s
AND (usd, tokens, calls) = (used_usd, used_tokens, used_calls)
"""

# A slice that is lost with the server costs a quarter of a second, so no call waits for the disk.
# `requests` and `tokens` are the seconds in which so much flows in. What is returned is the seconds
# until the limits are whole again, and until the pause ends.
DRAW_RATE: Final = """
INSERT INTO graphorch.rates AS r (target, requests_full_at, tokens_full_at)
SELECT %(target)s, now + %(requests)s::float8, now + %(tokens)s::float8 FROM (
    SELECT graphorch.now() AS now, set_config('synchronous_commit', 'off', true)
) AS clock
ON CONFLICT (target) DO UPDATE SET
    requests_full_at = %(requests)s::float8
        + greatest(r.requests_full_at, excluded.requests_full_at - %(requests)s::float8),
    tokens_full_at = %(tokens)s::float8
        + greatest(r.tokens_full_at, excluded.tokens_full_at - %(tokens)s::float8)
RETURNING requests_full_at - graphorch.now(), tokens_full_at - graphorch.now(),
    blocked_until - graphorch.now()
"""

PAUSE_RATE: Final = """
INSERT INTO graphorch.rates AS r (target, blocked_until)
VALUES (%(target)s, graphorch.now() + %(seconds)s::float8)
ON CONFLICT (target) DO UPDATE SET
    blocked_until = greatest(r.blocked_until, excluded.blocked_until)
"""

READ_PAUSES: Final = """
SELECT target, blocked_until - graphorch.now() FROM graphorch.rates
WHERE target = ANY(%(targets)s) AND blocked_until > graphorch.now()
"""

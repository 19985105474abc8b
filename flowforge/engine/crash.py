"""Named points at which a test can make the process die as if killed.

`FLOWFORGE_CRASH_AT=relay.after_xadd` kills the process with SIGKILL the first time that point is reached,
`FLOWFORGE_CRASH_AT=relay.after_xadd:3` the third time. Unset, a point costs one comparison.
"""

from __future__ import annotations

import os
import signal

from flowforge.errors import UsageError

VARIABLE = "FLOWFORGE_CRASH_AT"

#: Every point, and what has happened by then.
POINTS = {
    "reader.after_read": "deliveries are the worker's in the stream, nothing is claimed",
    "reclaimer.after_reclaim": "deliveries of another consumer are the worker's, nothing is claimed",
    "degraded.after_take": "dispatches are out of the outbox for good, nothing is claimed",
    "relay.after_xadd": "dispatches are in their streams, the outbox still has them",
    "worker.after_claim": "the attempt is committed as running, nothing is executed",
    "worker.before_settle": "the attempt has had its effect, its outcome is not committed",
    "worker.before_ack": "the outcome is committed, the delivery is not acknowledged",
    "acker.after_ack": "the delivery is acknowledged",
    "heartbeat.after_renew": "leases are renewed, their deliveries are not touched",
    "sweeper.before_wake": "runs are due, nothing is decided about them",
    "sweeper.after_wake": "the decision is committed, nobody was told",
    "receipting.before_commit": "receipts are signed and written, nothing of them is committed",
}


def parse(text: str | None) -> tuple[str, int]:
    """Return the point and how often it has to be reached; `("", 0)` for none."""
    if not text:
        return "", 0
    name, _, count = text.partition(":")
    if name not in POINTS:
        raise UsageError(f"{VARIABLE} names no crash point: '{name}'", hint=f"there are: {', '.join(POINTS)}")
    if count and not (count.isdecimal() and int(count) > 0):
        raise UsageError(f"{VARIABLE}: '{count}' is no count", hint=f"like {name}:3, from 1")
    return name, int(count or 1)


def check() -> None:
    """Refuse an unknown point before anything is started."""
    parse(os.environ.get(VARIABLE))


_at, _left = parse(os.environ.get(VARIABLE))


def crash_point(name: str) -> None:
    """Die here if a test asked for it."""
    if name == _at:
        _reached()


def _reached() -> None:
    global _left  # noqa: PLW0603 - one countdown per process
    _left -= 1
    if _left == 0:
        os.kill(os.getpid(), signal.SIGKILL)

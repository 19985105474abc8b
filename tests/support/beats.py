"""Heartbeats that come all the time, so that leases can be long enough for any machine."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest

#: Seconds between two beats, whatever the lease.
PACE = 0.05


class _Restless(threading.Event):
    """An event for which nobody waits for long."""

    def wait(self, timeout: float | None = None) -> bool:
        """Wait, but no longer than the pace."""
        return super().wait(PACE if timeout is None else min(timeout, PACE))


def beat_often(patch: pytest.MonkeyPatch) -> None:
    """Let workers that start from now on beat, and renew what they hold, all the time."""
    patch.setattr("flowforge.engine.heartbeat.threading", SimpleNamespace(Event=_Restless, Thread=threading.Thread))
    patch.setattr("flowforge.engine.heartbeat.YOUNG", 0.0)

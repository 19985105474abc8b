"""Processes, as the kernel knows them."""

from __future__ import annotations

from pathlib import Path

from tests.support.eventually import eventually_sync


def lives(pid: int) -> bool:
    """Say whether a process runs; a zombie does not."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return text.rpartition(")")[2].split()[0] not in "ZX"


def gone(pid: int) -> None:
    """Wait until a process is gone; it has to be soon."""
    eventually_sync(lambda: not lives(pid), what=f"process {pid} ends")

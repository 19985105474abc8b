"""What is said while things are measured: one line per trial, with the time that has passed."""

from __future__ import annotations

import sys
import time


class Progress:
    """Writes to stderr, so that stdout holds the table alone."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        """The time that has passed."""
        return time.monotonic() - self._began

    def title(self, text: str) -> None:
        """Begin a measure."""
        self._say(f"== {text}")

    def line(self, text: str) -> None:
        """Say what a trial found, or what is done now."""
        self._say(f"   {text}")

    def _say(self, text: str) -> None:
        minutes, seconds = divmod(int(self.seconds), 60)
        print(f"{minutes:3}:{seconds:02}  {text}", file=sys.stderr, flush=True)

    def passing(self, text: str) -> None:
        """Replace the last line on a terminal; say nothing elsewhere."""
        if sys.stderr.isatty():
            print(f"\r\x1b[2K{text}", end="", file=sys.stderr, flush=True)

    def passed(self) -> None:
        """Take the passing line away."""
        self.passing("")

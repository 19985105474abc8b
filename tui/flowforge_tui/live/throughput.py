"""How many runs end in a second, lately; and how that looks as a line of bars. Pure: the time is an argument."""

from __future__ import annotations

from collections import deque

#: Seconds that are remembered.
KEPT = 60
BARS = "▁▂▃▄▅▆▇█"


class Throughput:
    """Counts, second by second."""

    def __init__(self) -> None:
        self._counts: deque[tuple[int, int]] = deque(maxlen=KEPT)

    def ended(self, at: float) -> None:
        """Count a run that has ended at a time in seconds."""
        second = int(at)
        if self._counts and self._counts[-1][0] == second:
            self._counts[-1] = (second, self._counts[-1][1] + 1)
        else:
            self._counts.append((second, 1))

    def lately(self, now: float, seconds: int) -> list[int]:
        """Return the counts of the last whole seconds, oldest first."""
        known = dict(self._counts)
        return [known.get(int(now) - back, 0) for back in range(seconds, 0, -1)]

    def rate(self, now: float, seconds: int = 5) -> float:
        """Return runs a second, over the last few."""
        return sum(self.lately(now, seconds)) / seconds


def bars(counts: list[int]) -> str:
    """Return counts as bars, as high as the greatest of them allows."""
    most = max(counts, default=0)
    return "".join(BARS[0] if most == 0 else BARS[-(-count * (len(BARS) - 1) // most)] for count in counts)

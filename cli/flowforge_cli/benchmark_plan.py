"""What a benchmark runs: the shape of its workflow, how many runs of it, and how they are started.

Every step does nothing but give its input on, so that what is measured is everything around the steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

QUEUE = "bench"
HINT = "linear:3, fanout:100, grid:10x10 or serial:500"
KINDS = ("linear", "fanout", "grid", "serial")
DEFAULT_RUNS = {"linear": 10_000, "fanout": 1, "grid": 1}
#: Steps of a run of the shape `serial`.
SERIAL_STEPS = 3
#: Runs started in one transaction unless told otherwise, and the steps they have together at most.
BATCH, BATCH_STEPS = 200, 20_000
#: The same for the runs before the measurement.
WARM_UP, WARM_UP_STEPS = 50, 500

NOTHING: dict[str, Any] = {"type": "transform", "config": {"expression": "input.n"}}


@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure."""

    kind: str
    #: The numbers behind the kind, as written.
    size: tuple[int, ...]
    runs: int
    workers: int
    gate: int | None
    batch: int
    in_flight: int

    @classmethod
    def parse(
        cls, shape: str, *, runs: int | None, workers: int, gate: int | None, batch: int | None, in_flight: int
    ) -> Plan:
        """Read a shape such as linear:3."""
        kind, size = parse_shape(shape)
        count = size[0] if kind == "serial" else runs or DEFAULT_RUNS[kind]
        together = min(in_flight, batch or max(1, min(BATCH, BATCH_STEPS // _steps(kind, size))))
        return cls(kind, size, count, workers, gate, together, in_flight)

    @property
    def shape(self) -> str:
        """The shape as written."""
        return f"{self.kind}:{'x'.join(map(str, self.size))}"

    @property
    def warm_up(self) -> int:
        """How many runs come before the measurement, so that every worker has seen one."""
        return min(WARM_UP, max(self.workers, WARM_UP_STEPS // _steps(self.kind, self.size)))

    def definition(self) -> dict[str, Any]:
        """Return the workflow of the shape."""
        kind, size = ("linear", (SERIAL_STEPS,)) if self.kind == "serial" else (self.kind, self.size)
        gate = f"-gate-{self.gate}" if self.gate else ""
        name = f"bench-{kind}-{'x'.join(map(str, size))}{gate}"
        return {"name": name, "queue": QUEUE, "concurrency": {"limit": self.gate}, "steps": _listed(kind, size)}


def parse_shape(shape: str) -> tuple[str, tuple[int, ...]]:
    """Return the kind of a shape and its numbers."""
    from flowforge.errors import UsageError

    kind, _, text = shape.partition(":")
    words = text.split("x") if kind == "grid" else [text]
    numbers = tuple(int(word) for word in words if word.isascii() and word.isdecimal())
    if kind not in KINDS or len(numbers) != len(words) or len(words) != (2 if kind == "grid" else 1) or 0 in numbers:
        raise UsageError(f"'{shape}' is not a shape", hint=HINT)
    return kind, numbers


def _steps(kind: str, size: tuple[int, ...]) -> int:
    """Return about how many steps a run has."""
    return SERIAL_STEPS if kind == "serial" else size[0] * size[-1] if kind == "grid" else size[0]


def _listed(kind: str, size: tuple[int, ...]) -> list[dict[str, Any]]:
    match kind:
        case "fanout":
            return _fanout(*size)
        case "grid":
            return _grid(*size)
        case _:
            return _linear(*size)


def _linear(steps: int) -> list[dict[str, Any]]:
    """Return a chain: every step depends on the one before."""
    return [{"id": f"step{no}", **NOTHING, "depends_on": [f"step{no - 1}"] if no else []} for no in range(steps)]


def _fanout(children: int) -> list[dict[str, Any]]:
    """Return steps that are all ready at once, and one that waits for all of them."""
    listed = [{"id": f"child{no}", **NOTHING} for no in range(children)]
    return [
        {"id": "fan", "type": "parallel", "config": {"steps": listed}},
        {"id": "join", "depends_on": ["fan"], **NOTHING},
    ]


def _grid(rows: int, columns: int) -> list[dict[str, Any]]:
    """Return rows of steps, each of which depends on the step above it and that one's neighbour.

    Every step but those of the first row is a join of two, and no row waits for the whole of the one above.
    """
    return [
        {"id": f"r{row}c{column}", **NOTHING, "depends_on": _above(row, column, columns)}
        for row in range(rows)
        for column in range(columns)
    ]


def _above(row: int, column: int, columns: int) -> list[str]:
    return sorted({f"r{row - 1}c{column}", f"r{row - 1}c{(column + 1) % columns}"}) if row else []

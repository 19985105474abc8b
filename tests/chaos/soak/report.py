"""What a soak has found out, as a table for people and as a document for programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tests.chaos.kit.audit import audit
from tests.chaos.kit.world import World
from tests.chaos.soak.faults import LEASE, Faults
from tests.chaos.soak.takeovers import GOAL, lost_at_most, takeovers
from tests.support.checker import violations

#: Attempts lost with a worker: how the next one began. Whoever found it and began with it wrote both in the same row.
_LOST = """
SELECT count(*) FILTER (WHERE events::jsonb @> '[{"type": "step.started"}]'),
       count(*) FILTER (WHERE NOT events::jsonb @> '[{"type": "step.started"}]')
FROM run_events WHERE events::jsonb @> '[{"type": "step.retrying", "data": {"error": {"code": "WORKER_LOST"}}}]'
"""
_RETRIES = """
SELECT count(*) FROM events WHERE type = 'step.retrying' AND data->'error'->>'code' <> 'WORKER_LOST'
"""


@dataclass(frozen=True, slots=True)
class Report:
    """The numbers of one soak."""

    seed: int
    minutes: float
    faults: dict[str, int]
    runs: dict[str, int]
    #: Runs that have failed as they should, and were undone.
    undone: int
    failures: dict[str, int]
    steps: int
    effects: int
    retries: int
    #: Lost attempts whose finder began with the next one at once, and those that were dispatched again.
    begun_at_once: int
    dispatched_again: int
    duplicates: int
    late_calls: int
    takeovers: int
    #: Attempts of one step that the death of one worker has cost, at most.
    lost_at_most: int
    takeover_p50: float | None
    takeover_p99: float | None
    #: Of those, the ones during which nothing else was broken.
    takeovers_alone: int
    takeover_alone_p50: float | None
    takeover_alone_p99: float | None
    #: Those that took longer than the goal: where the time went, and what else was broken meanwhile.
    slow: list[str]
    lease: float
    starts_refused: int
    violations: list[str]

    @property
    def duplicates_per_thousand(self) -> float:
        """Calls that nobody asked to repeat, per thousand effects."""
        return 1000 * self.duplicates / max(1, self.effects)

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong, and nearly everything completed."""
        total = sum(self.runs.values())
        return not self.violations and self.runs.get("completed", 0) + self.undone >= 0.99 * total

    def document(self) -> dict[str, Any]:
        """Return it as data."""
        document = asdict(self) | {"duplicates_per_thousand": self.duplicates_per_thousand, "sound": self.sound}
        return {"schema": "flowforge/soak/v1", **document}

    def lines(self) -> list[str]:
        """Return it as text."""
        rows: list[tuple[str, object]] = [("faults injected", sum(self.faults.values()))]
        rows += [(f"  {name.replace('_', ' ')}", count) for name, count in sorted(self.faults.items())]
        rows.append(("runs", sum(self.runs.values())))
        rows += [(f"  {status}", count) for status, count in sorted(self.runs.items())]
        rows += [(f"    {code}", count) for code, count in sorted(self.failures.items())]
        rows.append(("  of those failed as they should, and undone", self.undone))
        rows += [
            ("steps", self.steps),
            ("effects", self.effects),
            ("retries asked for by failures", self.retries),
            ("lost attempts begun anew by their finder", self.begun_at_once),
            ("lost attempts dispatched again", self.dispatched_again),
            ("effects repeated, per thousand", f"{self.duplicates_per_thousand:.2f}"),
            ("calls of zombies after the end", self.late_calls),
            ("starts refused and repeated", self.starts_refused),
            ("takeovers of killed workers' steps", self.takeovers),
            ("attempts lost by a step and a death", self.lost_at_most),
            ("takeover p50 / p99", f"{_seconds(self.takeover_p50)} / {_seconds(self.takeover_p99)}"),
            ("  those beside no other fault", self.takeovers_alone),
            ("  p50 / p99 of those", f"{_seconds(self.takeover_alone_p50)} / {_seconds(self.takeover_alone_p99)}"),
            (f"  longer than {GOAL:g} s", len(self.slow)),
            ("lease", _seconds(self.lease)),
            ("violations", len(self.violations)),
        ]
        return [f"{name:<46}{value!s:>12}" for name, value in rows] + self.slow[-20:] + self.violations[:50]


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} s"


def made(world: World, faults: Faults, *, seed: int, minutes: float, refused: int) -> Report:
    """Look at everything once it has come to rest."""
    sql = world.sql
    found = audit(sql, world.effects.calls())
    where = world.installation.database_url, world.machine.redis_url
    wrong = violations(*where, all_receipts=True) + found.wrong
    begun_at_once, dispatched_again = sql.rows(_LOST)[0]
    asked = sql.value("SELECT coalesce(sum(greatest(attempt - 1 - crashes, 0)), 0)::int FROM steps")
    taken = takeovers(world, faults.deaths)
    latencies = [one.seconds for one in taken]
    alone = [one.seconds for one in taken if not one.beside(faults.history)]
    return Report(
        seed=seed,
        minutes=minutes,
        faults=dict(faults.counts),
        runs=dict(sql.rows("SELECT status::text, count(*)::int FROM runs GROUP BY 1")),
        undone=world.undone(),
        failures=dict(sql.rows("SELECT error->>'code', count(*)::int FROM runs WHERE error IS NOT NULL GROUP BY 1")),
        steps=sql.counts("steps"),
        effects=found.effects,
        retries=sql.value(_RETRIES),
        begun_at_once=begun_at_once,
        dispatched_again=dispatched_again,
        duplicates=max(0, found.repeated - asked),
        late_calls=found.late,
        takeovers=len(latencies),
        lost_at_most=lost_at_most(world, faults.deaths),
        takeover_p50=_quantile(latencies, 0.5),
        takeover_p99=_quantile(latencies, 0.99),
        takeovers_alone=len(alone),
        takeover_alone_p50=_quantile(alone, 0.5),
        takeover_alone_p99=_quantile(alone, 0.99),
        slow=[one.told(faults.history) for one in taken if one.seconds > GOAL],
        lease=LEASE,
        starts_refused=refused,
        violations=wrong,
    )


def _quantile(values: Sequence[float], part: float) -> float | None:
    return values[min(len(values) - 1, int(part * len(values)))] if values else None

"""What a doctor looks for: the twelve invariants, the kinds of their violations, and what each means and is cured by.

Every finding has a kind of this table; whoever finds, repairs or tells of one agrees here on the words.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from uuid import UUID

from flowforge.model.audit import Violation
from flowforge.model.explanation import command

INVARIANTS: dict[int, str] = {
    1: "every accepted run ends, or waits for something that has a name",
    2: "at most one committed result of a step",
    3: "no step starts before its dependencies committed",
    4: "what has ended stays as it ended",
    5: "a run's events are 1..n without gaps, and say what its rows say",
    6: "active runs never exceed a limit, and no room is left while runs wait",
    7: "nothing is left over: dispatches, deliveries, leases",
    8: "no commit with an old token succeeds",
    9: "a side effect's idempotency key is the same for every attempt",
    10: "timers never fire early, and fire once",
    11: "what completed and can be undone is undone in reverse order, each once",
    12: "receipts match the events",
}


class Kind(NamedTuple):
    """A kind of finding."""

    #: Number of the invariant; None for what is no invariant: servers, settings, workers.
    invariant: int | None
    title: str
    means: str
    #: What `--fix` does, or what a person does.
    repair: str
    fixable: bool = False
    #: A warning is a finding too, but nothing is wrong yet.
    warning: bool = False


_BY_HAND = "not by machine: history is never rewritten; "
_LOOK = "flowforge show RUN, flowforge events RUN; "

KINDS: dict[str, Kind] = {
    # 1
    "run.asleep": Kind(1, "runs that nothing will wake", "no timer, lease or dispatch leads to their next step",
                       "sets their alarm, so that the next sweep looks at them", fixable=True),
    "run.count": Kind(1, "runs count their open steps wrongly", "they would end too early, or never",
                      "counts them anew from their rows", fixable=True),
    "end.incomplete": Kind(1, "runs completed although steps were left", "work was forgotten",
                           _BY_HAND + "start it again with what was done: flowforge replay RUN --from STEP"),
    # 2
    "result.twice": Kind(2, "steps have two results", "their effect may have happened twice",
                         _BY_HAND + _LOOK + "compare both with the other side by the idempotency key"),
    # 3
    "start.early": Kind(3, "steps started too early", "they may have read what was not there yet",
                        _BY_HAND + _LOOK + "then flowforge replay RUN --from STEP"),
    "start.unknown": Kind(3, "steps started that the workflow does not have", "the definition was changed in place",
                          _BY_HAND + "restore the definition of the version"),
    # 4
    "end.more": Kind(4, "runs went on after their end", "something was committed that nobody may rely on",
                     _BY_HAND + _LOOK + "a receipt of the run covers the end it names, not what follows"),
    "end.open": Kind(4, "ended runs have open steps", "a worker could begin with them",
                     "takes from the history what those steps came to, else cancels them", fixable=True),
    # 5
    "history.gap": Kind(5, "histories have gaps", "events are lost: the runs cannot be rebuilt",
                        _BY_HAND + "restore run_events from a backup; what the rows say still holds"),
    "history.count": Kind(5, "runs know another last event than their history has", "their next event would be refused",
                          "takes the number from the history, where that has no gap", fixable=True),
    "rows.differ": Kind(5, "rows differ from the history", "one of them was changed by hand",
                        "takes from the history what it says of them, where that has no gap", fixable=True),
    "run.unreadable": Kind(5, "runs that cannot be read", "their rows or events were changed by hand, or are "
                           "of another release", _BY_HAND + "restore their rows from a backup"),
    "rows.missing": Kind(5, "steps have a history and no row", "the rows were deleted",
                         _BY_HAND + "restore the rows of table steps from a backup"),
    "rows.orphaned": Kind(5, "rows of runs that do not exist", "the rows of the runs were deleted",
                          _BY_HAND + "restore the rows of table runs from a backup, or delete what is left of them"),
    # 6
    "gate.over": Kind(6, "gates have more active runs than they may", "more than any version of the workflow allows",
                      "cancel or pause some of the runs, or raise the limit: it heals as runs end"),
    "gate.was_over": Kind(6, "gates had more active runs than they may", "their limit was exceeded, by their history",
                          "nothing to repair: it is over"),
    "gate.idle": Kind(6, "gates have room while runs wait", "runs wait for nothing",
                      "admits as many as there is room for", fixable=True),
    "items.over": Kind(6, "more items of a foreach were worked on than may be", "max_parallel was exceeded",
                       "nothing to repair: it is over"),
    # 7
    "outbox.stale": Kind(7, "dispatches that nobody needs", "their steps are past them",
                         "deletes them", fixable=True),
    "outbox.late": Kind(7, "dispatches that are not published", "the workers of the queue do not publish them: do "
                        "they reach Redis?", "look at the logs of the workers; work goes on slowly, from Postgres"),
    "lease.over": Kind(7, "steps whose lease has ended", "their worker is gone and nobody took over",
                       "lets the engine look at the runs: the steps are dispatched again", fixable=True),
    "timer.late": Kind(10, "timers that are overdue", "no sweeper runs: workers do that",
                       "lets the engine look at the runs", fixable=True),
    "step.unclaimed": Kind(7, "queued steps that nobody claims", "their dispatch is lost, or no worker takes it",
                           "dispatches them again", fixable=True),
    "stream.pending": Kind(7, "deliveries that nobody finishes", "their consumer is gone, their steps are past them",
                           "acknowledges them", fixable=True),
    "stream.group": Kind(7, "queues without their consumer group", "Redis has lost it", "makes it anew", fixable=True),
    # 8
    "token.differs": Kind(8, "tokens differ from the number of claims", "an old claim could be accepted, or a new one "
                          "refused", "takes the number from the history; never lower while the step runs",
                          fixable=True),
    # 9
    "key.differs": Kind(9, "steps have another idempotency key than their history says", "the next attempt would make "
                        "its effect anew", "takes from the history how often the effect was undone", fixable=True),
    "definition.changed": Kind(9, "versions are not what was published", "ids of steps, and so keys, may differ",
                               _BY_HAND + "restore the definition from its file or a backup, or publish it anew"),
    # 10
    "timer.early": Kind(10, "timers fired early", "a delay or a retry did not take its time",
                        "nothing to repair: it is over; was the database's clock set back?"),
    # 11
    "undo.order": Kind(11, "compensations in the wrong order, or of nothing", "what was undone depended on what "
                       "was not",
                       _BY_HAND + _LOOK + "compare with the other side"),
    "undo.left": Kind(11, "steps are not undone, and the run does not say so", "an effect is left behind",
                      "flowforge retry RUN goes on undoing where it can; else undo it by hand: flowforge incident ls"),
    # 12
    "receipt.due": Kind(12, "ended runs without a receipt", "nobody was told to make it, or no worker makes any",
                        "makes them", fixable=True),
    "receipt.head": Kind(12, "chains of receipts whose head is not their last receipt", "the next one would break the "
                         "chain", "sets the head to the last receipt", fixable=True),
    "receipt.broken": Kind(12, "receipts that were changed", "they prove nothing any more",
                           "not by machine: restore table receipt_batches from a backup, or a copy: flowforge receipt "
                           "verify FILE"),
    "receipt.untold": Kind(12, "receipts that the history does not tell of, or the other way round",
                           "rows were deleted or added by hand", "not by machine: restore the tables from a backup"),
    # servers, settings, workers
    "server.postgres": Kind(None, "Postgres cannot be used", "nothing works without it",
                            "start it, or correct FLOWFORGE_DATABASE_URL; the embedded one: flowforge up"),
    "server.redis": Kind(None, "Redis cannot be used", "work goes on slowly, from Postgres alone; nothing is lost",
                         "start it, or correct FLOWFORGE_REDIS_URL; the embedded one: flowforge up"),
    "schema": Kind(None, "the schema is not the one of this release", "this release cannot work with it",
                   "flowforge db upgrade"),
    "definition.unreadable": Kind(None, "versions that this release cannot read", "their runs cannot be judged, nor go "
                                  "on",
                                  "use the release that published them, or move their runs: flowforge retry RUN "
                                  "--to-version N"),
    "version": Kind(None, "a server is too old", "it lacks what FlowForge uses", "upgrade the server"),
    "clock": Kind(None, "clocks differ", "leases and timers go by Postgres; logs and Redis do not agree with it",
                  "synchronise the machines (NTP)", warning=True),
    "postgres.fsync": Kind(None, "Postgres does not flush its log", "a crash of its machine loses what was committed",
                           "set fsync = on and synchronous_commit = on, and restart it"),
    "postgres.connections": Kind(None, "connections are nearly used up", "workers and commands will be refused",
                                 "raise max_connections, or run fewer worker processes", warning=True),
    "postgres.old_transaction": Kind(None, "a transaction has been open for long", "it holds up vacuum and the feed",
                                     "end it: SELECT pg_terminate_backend(pid)", warning=True),
    "redis.eviction": Kind(None, "Redis may evict streams", "a queue can vanish with all its dispatches: latency, not "
                           "loss", "maxmemory-policy noeviction"),
    "redis.memory": Kind(None, "Redis is nearly full", "publishing will fail; work goes on slowly, from Postgres",
                         "raise maxmemory, or find what fills it", warning=True),
    "redis.persistence": Kind(None, "Redis keeps nothing over a restart", "every queued step is dispatched again then: "
                              "latency, not loss", "appendonly yes, appendfsync everysec", warning=True),
    "disk": Kind(None, "the disk is nearly full", "Postgres stops when it is",
                 "free some, or move FLOWFORGE_HOME", warning=True),
    "queue.unserved": Kind(None, "queues with work and without a worker", "their steps wait",
                           "flowforge worker start --queue NAME"),
    "workers.lost": Kind(None, "workers have gone without a word", "what they had is taken over when its lease ends",
                         "start others: flowforge worker start; they are forgotten after a day", warning=True),
    "workers.version": Kind(None, "workers of another release", "they may not know what this one writes",
                            "restart them", warning=True),
    "letters": Kind(None, "messages that nobody could read", "somebody else writes to a queue, or another release does",
                    "look at the dead letters of the queue", warning=True),
}  # fmt: skip

#: Runs that a finding names.
NAMED = 10
#: Where a run is looked at of which something else is wrong than that it does not move.
_LOOKS = dict.fromkeys(
    (
        *("result.twice", "start.early", "start.unknown", "end.more", "end.incomplete", "history.gap", "history.count"),
        *("rows.differ", "rows.missing", "rows.orphaned", "run.unreadable", "token.differs", "key.differs"),
        *("timer.early", "items.over", "undo.order", "undo.left"),
    ),
    "events",
) | dict.fromkeys(("receipt.due", "receipt.head", "receipt.broken", "receipt.untold"), "receipt")


@dataclass(slots=True)
class Finding:
    """Something that is not as it should be, with all runs that it is about."""

    kind: str
    #: One line each, of the first.
    details: list[str] = field(default_factory=list)
    runs: list[UUID] = field(default_factory=list)
    count: int = 0
    violations: list[Violation] = field(default_factory=list, repr=False)

    @property
    def about(self) -> Kind:
        """What this kind of finding means."""
        return KINDS[self.kind]

    @property
    def commands(self) -> list[str]:
        """What to type next: a repair, then a look at what it is about."""
        typed = [command("doctor", "--fix")] if self.about.fixable else []
        for one in self.violations:
            if self.kind == "queue.unserved":
                typed.append(command("worker", "start", "--queue", str(one.about)))
            elif one.run is not None:
                typed.append(command(_LOOKS.get(self.kind, "explain"), str(one.run), *([one.step] if one.step else [])))
            if len(typed) > 2 * NAMED:
                break
        return list(dict.fromkeys(typed))[:NAMED]

    def document(self) -> dict[str, Any]:
        """Return the element of a doctor's `findings`."""
        kind = self.about
        return {
            "kind": self.kind,
            "invariant": kind.invariant,
            "severity": "warning" if kind.warning else "error",
            "title": kind.title,
            "means": kind.means,
            "repair": kind.repair,
            "fixable": kind.fixable,
            "commands": self.commands,
            "count": self.count,
            "runs": [str(run) for run in self.runs],
            "details": self.details,
        }


def findings(violations: Iterable[Violation]) -> list[Finding]:
    """Put what is alike together, in the order of the table."""
    found: dict[str, Finding] = {}
    seen: dict[str, set[UUID]] = {}
    for one in violations:
        finding = found.setdefault(one.kind, Finding(one.kind))
        finding.violations.append(one)
        runs = seen.setdefault(one.kind, set())
        finding.count += one.run is None or one.run not in runs
        if len(finding.details) < NAMED:
            finding.details.append(one.detail if one.run is None else f"run {one.run}: {one.detail}")
        if one.run is not None and one.run not in runs:
            runs.add(one.run)
            if len(finding.runs) < NAMED:
                finding.runs.append(one.run)
    order = {kind: no for no, kind in enumerate(KINDS)}
    return sorted(found.values(), key=lambda one: order[one.kind])


class Check(NamedTuple):
    """Something that was looked at and is as it should be, or could not be looked at."""

    name: str
    #: ok, or skipped
    state: str
    said: str

    def document(self) -> dict[str, str]:
        """Return the element of a doctor's `checks`."""
        return self._asdict()


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The result of an examination."""

    checks: Sequence[Check]
    findings: Sequence[Finding]
    #: Runs whose history was read, and whether those were all.
    runs: int
    whole: bool
    #: What was done about findings, one line each.
    repaired: Sequence[str] = ()

    @property
    def healthy(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    def _holds(self, no: int) -> bool | None:
        """Say whether an invariant holds; None where nobody could look."""
        if any(one.name == "invariants" and one.state == "skipped" for one in self.checks):
            return None
        return all(one.about.invariant != no for one in self.findings)

    def document(self) -> dict[str, Any]:
        """Return the document, `flowforge/doctor/v1`."""
        return {
            "schema": "flowforge/doctor/v1",
            "healthy": self.healthy,
            "runs": self.runs,
            "whole": self.whole,
            "checks": [one.document() for one in self.checks],
            "findings": [one.document() for one in self.findings],
            "repaired": list(self.repaired),
            "invariants": [{"no": no, "text": text, "holds": self._holds(no)} for no, text in INVARIANTS.items()],
        }

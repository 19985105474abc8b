"""One trial: a command that measures, run once, with what the servers counted around it.

FlowForge is measured by its own `flowforge bench`, which everybody can repeat; peers by programs of ours beside this
one. Every trial is kept as it came.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.benchmarks import children
from tests.benchmarks.figures import number
from tests.benchmarks.place import Place
from tests.benchmarks.progress import Progress
from tests.benchmarks.results import Failed
from tests.benchmarks.sizes import Sizes

#: Roles whose processor time a run of FlowForge costs; the first two are Python.
ROLES = ("workers", "client", "postgres", "streams")


@dataclass(frozen=True, slots=True)
class Trial:
    """One result of `flowforge bench`, and what the servers counted meanwhile."""

    document: Mapping[str, Any]
    counted: Mapping[str, float]

    @property
    def runs_per_s(self) -> float:
        """Runs a second, from the first creation to the last end."""
        return float(self.document["runs_per_s"])

    @property
    def steps_per_s(self) -> float:
        """Steps a second."""
        return float(self.document["steps_per_s"])

    @property
    def steps(self) -> int:
        """Steps of all runs together."""
        return int(self.document["runs"] * self.document["steps"])

    def seconds(self, *roles: str) -> float:
        """Return the processor time of roles; all of them unless named."""
        return float(sum(self.document["cpu_seconds"][role] or 0.0 for role in roles or ROLES))

    def per_run(self, name: str) -> float:
        """Return how much of what the servers counted one run took, the warm-up's runs included."""
        return self.counted[name] / float(self.document["runs"] + self.document["settings"]["warm_up"])


@dataclass(slots=True)
class Bench:
    """What every measure works with: the place, how much to do, and where results go."""

    place: Place
    sizes: Sizes
    workers: int
    peers: bool
    progress: Progress
    #: Every trial as data, in order.
    trials: list[dict[str, Any]] = field(default_factory=list)
    #: The settings that each peer said it had.
    settings: dict[str, Any] = field(default_factory=dict)
    #: What is being measured now.
    measure: str = ""
    #: What could not be measured, and why.
    failures: dict[str, str] = field(default_factory=dict)

    def flowforge(self, shape: str, **options: Any) -> Trial:
        """Run `flowforge bench`, by default with the workers of this benchmark."""
        chosen = {"workers": self.workers} | options
        words = [part for name, value in chosen.items() for part in (f"--{name.replace('_', '-')}", str(value))]
        command = [sys.executable, "-m", "flowforge_cli", "bench", "--json", "--shape", shape, *words]
        before = self.place.counters()
        document = children.document(command, self.place.environment)
        after = self.place.counters()
        trial = Trial(document, {name: after[name] - before[name] for name in after})
        self._keep("flowforge", {**document, "counted": dict(trial.counted)})
        options_said = "".join(f", {name} {value}" for name, value in options.items() if name != "runs")
        self.progress.line(f"FlowForge {shape}{options_said}: {_summary(document)}")
        return trial

    def peer(self, name: str, task: str, count: int) -> dict[str, Any] | None:
        """Run a peer's program; None when peers are left out, or when it fails: our own figures stand without it."""
        if not self.peers:
            return None
        url = self.place.renew(name) if name == "dbos" else self.place.redis_url
        module = f"tests.benchmarks.peers.{name}_peer"
        command = [sys.executable, "-m", module, task, str(count), "--url", url]
        try:
            document = children.document(command, self.place.environment)
        except Failed as error:
            self.fail(f"{self.measure}, {name}", error)
            return None
        self.settings[name] = document.pop("settings")
        self._keep(name, document)
        self.progress.line(f"{name} {task}: {_summary(document)}")
        return document

    def tool(self, module: str, *words: str) -> dict[str, Any]:
        """Run a program of this benchmark that measures FlowForge in another way."""
        command = [sys.executable, "-m", f"tests.benchmarks.{module}", *words]
        document = children.document(command, self.place.environment)
        self._keep("flowforge", document)
        self.progress.line(f"{module} {' '.join(words)}: {_summary(document)}")
        return document

    def fail(self, what: str, error: Failed) -> None:
        """Remember that something could not be measured."""
        self.failures[what] = str(error)
        self.progress.line(f"failed: {error}")

    def _keep(self, side: str, document: Mapping[str, Any]) -> None:
        self.trials.append({"measure": self.measure, "side": side, **document})


def _summary(document: Mapping[str, Any]) -> str:
    """Say the figures of a result in one line."""
    rates = {name: title for name, title in RATES.items() if name in document and document["runs"] > 1}
    rates = rates or {"steps_per_s": "steps/s"}
    words = [f"{number(document[name])} {title}" for name, title in rates.items() if name in document]
    for name, title in TIMES.items():
        if name in document:
            figures = document[name]
            words.append(f"{title} p50 {number(figures['p50'])} ms, p99 {number(figures['p99'])} ms")
    return ", ".join(words)


RATES = {"runs_per_s": "runs/s", "steps_per_s": "steps/s", "starts_per_s": "starts/s"}
TIMES = {"waited_ms": "seen by the caller", "start_ms": "until started", "key_ms": "key to screen"}

"""What is left of a benchmark: the table and what belongs to it on stdout, and a folder with data and pictures.

The folder is written anew after every measure, so that whoever interrupts keeps what was measured.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from textwrap import wrap
from typing import Any

from tests.benchmarks import curves, noise, table
from tests.benchmarks.figures import spread
from tests.benchmarks.results import Curve, Found, Row
from tests.benchmarks.trials import Bench

SCHEMA = "flowforge/benchmarks/v1"
#: Columns of a terminal that notes are wrapped to.
WIDTH = 120
DATA, MARKDOWN = "result.json", "table.md"


@dataclass(slots=True)
class Report:
    """The results so far."""

    folder: Path
    bench: Bench
    machine: dict[str, Any]
    versions: dict[str, str]
    began: datetime = field(default_factory=lambda: datetime.now(UTC))
    #: By the name of the measure.
    found: dict[str, Found] = field(default_factory=dict)
    conditions: dict[str, noise.Conditions] = field(default_factory=dict)
    #: The settings of the servers.
    servers: dict[str, dict[str, str]] = field(init=False)

    def __post_init__(self) -> None:
        # Asked now: a measure may change them for as long as it lasts, or take a server down.
        self.servers = self.bench.place.settings()

    @property
    def rows(self) -> list[Row]:
        """All rows of the table."""
        return [row for found in self.found.values() for row in found.rows]

    @property
    def curves(self) -> list[Curve]:
        """All curves."""
        return [curve for found in self.found.values() for curve in found.curves]

    @property
    def doubts(self) -> dict[str, list[str]]:
        """Why figures are not to be trusted, by measure."""
        if not self.conditions:
            return {}
        best = noise.best(self.conditions.values())
        reasons = {
            name: noise.doubts(seen, best, {what: spread(each) for what, each in self.found[name].repeated.items()})
            for name, seen in self.conditions.items()
        }
        return {name: why for name, why in reasons.items() if why}

    @property
    def doubtful(self) -> set[str]:
        """The keys of the rows that are not to be trusted."""
        return {row.key for name in self.doubts for row in self.found[name].rows}

    def document(self) -> dict[str, Any]:
        """Return everything as data."""
        return {
            "schema": SCHEMA,
            "began_at": self.began.isoformat(timespec="seconds").replace("+00:00", "Z"),
            "seconds": round(self.bench.progress.seconds, 1),
            "size": self.bench.sizes.name,
            "machine": self.machine,
            "versions": self.versions,
            "settings": self.settings(),
            "rows": [row.document() for row in self.rows],
            "curves": [{"picture": one.picture, "label": one.label, "points": one.points} for one in self.curves],
            "repeated": {name: found.repeated for name, found in self.found.items() if found.repeated},
            "conditions": {name: seen.document() for name, seen in self.conditions.items()},
            "doubts": self.doubts,
            "failures": self.bench.failures,
            "trials": self.bench.trials,
        }

    def settings(self) -> dict[str, Any]:
        """Return the settings of every side."""
        ours = {"workers": self.bench.workers, "everything else": "default"}
        return {"flowforge": ours, **self.servers, **self.bench.settings}

    def save(self, copy: Path | None = None) -> None:
        """Write the folder, and the data to another file too if wanted."""
        self.folder.mkdir(parents=True, exist_ok=True)
        data = json.dumps(self.document(), indent=2, ensure_ascii=False) + "\n"
        for path in filter(None, (self.folder / DATA, copy)):
            path.write_text(data, encoding="utf-8")
        lines = [*table.markdown(self.rows, self.doubtful), "", *self.notes()]
        (self.folder / MARKDOWN).write_text("\n".join(lines) + "\n", encoding="utf-8")

    def draw(self) -> list[Path]:
        """Draw the curves; return the files."""
        note = f"{self.machine['processor']}, {self.machine['cores']} cores, {self.began:%Y-%m-%d}"
        return curves.draw(self.curves, self.folder, note)

    def notes(self) -> list[str]:
        """Return what has to stand beside the table: machine, versions, settings, and what to distrust."""
        lines = [
            f"machine: {_words(self.machine)}",
            f"versions: {_words(self.versions)}",
            *(f"{side}: {_words(chosen)}" for side, chosen in self.settings().items()),
        ]
        if self.bench.sizes.why:
            lines.append(f"size {self.bench.sizes.name}: {self.bench.sizes.why}")
        lines += [f"not measured: '{name}': {why}" for name, why in self.bench.failures.items()]
        lines += [f"~ distrust the figures of '{name}': {'; '.join(reasons)}" for name, reasons in self.doubts.items()]
        return [*lines, self.verdict()]

    def verdict(self) -> str:
        """Say whether the machine was quiet enough."""
        if not self.doubts:
            return "noise: the machine was quiet"
        return (
            f"noise: {len(self.doubts)} of {len(self.conditions)} measures are in doubt (~); "
            "measure them again when nothing else runs here"
        )

    def text(self) -> list[str]:
        """Return the table and its notes."""
        notes = [part for line in self.notes() for part in wrap(line, WIDTH, subsequent_indent="  ")]
        return [*table.text(self.rows, self.doubtful), "", *notes]


def _words(values: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())


def new_folder(results: Path) -> Path:
    """Return a folder for the results of now; folders sort by time."""
    return results / datetime.now(UTC).strftime("%Y-%m-%dT%H%M%SZ")

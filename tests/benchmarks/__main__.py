"""`make bench`: every figure that FlowForge promises, measured on this machine in one go, beside what people use today.

Everything runs on embedded servers in a new home, with the settings that every installation has. Each measure begins
with a new database, and with a calibration of the machine; one that fails does not keep the others from being taken.
The peers and their settings are described where they are measured: `peers/dbos_peer.py`, `peers/celery_peer.py`.
"""

from __future__ import annotations

import sys
from typing import Any

from tests.benchmarks import arguments, machine, noise, place, report
from tests.benchmarks.catalogue import MEASURES, Measure
from tests.benchmarks.children import interrupt_once
from tests.benchmarks.progress import Progress
from tests.benchmarks.results import Failed, Found
from tests.benchmarks.trials import Bench


def main(words: list[str]) -> int:
    """Measure what the command line asks for; return the exit code."""
    chosen = arguments.parse(words, {name: title for name, (title, _) in MEASURES.items()})
    interrupt_once()
    progress = Progress()
    try:
        with place.opened() as here:
            progress.title(f"the servers are up in {here.home}")
            bench = Bench(here, chosen.sizes, chosen.workers, chosen.peers, progress)
            _run(bench, chosen)
            return 1 if bench.failures else 0
    except KeyboardInterrupt:
        print("interrupted; servers and workers are stopped", file=sys.stderr)
        return 130


def _run(bench: Bench, chosen: arguments.Arguments) -> None:
    found = report.Report(report.new_folder(chosen.results), bench, *_described(bench))
    try:
        for name in chosen.measures:
            title, measure = MEASURES[name]
            bench.progress.title(f"{name}: {title}")
            bench.measure = name
            try:
                found.conditions[name], found.found[name] = _watched(bench, measure)
            except Failed as error:
                bench.fail(name, error)
            found.save(chosen.json)
    finally:
        _show(found)


def _described(bench: Bench) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the machine, and the versions of everything."""
    return machine.machine(bench.place.home), machine.versions() | bench.place.versions()


def _watched(bench: Bench, measure: Measure) -> tuple[noise.Conditions, Found]:
    """Measure, and look at the machine before, after and meanwhile."""
    before = noise.calibrate(bench.place.home)
    began = noise.ticks(bench.place.server_seconds().values())
    found = measure(bench)
    ended = noise.ticks(bench.place.server_seconds().values())
    return noise.conditions((before, noise.calibrate(bench.place.home)), began, ended), found


def _show(found: report.Report) -> None:
    """Print what there is, also after an interruption."""
    if not found.found and not found.bench.failures:
        return
    print("\n".join(found.text()))
    pictures = found.draw()
    where = ", ".join(path.name for path in (found.folder / report.DATA, found.folder / report.MARKDOWN, *pictures))
    print(f"\n{found.folder}: {where}")
    if found.curves and not pictures:
        print("without matplotlib there are no pictures: pip install 'flowforge[bench]'", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

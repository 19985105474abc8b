"""`make bench-model`: what 5,000, 50,000 and 500,000 runs a second need, from what a run cost on this machine.

It reads the newest result of `make bench`, and measures what that lacks.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import wrap
from typing import Any

from tests.benchmarks import machine, model_fit, place, table
from tests.benchmarks.arguments import RESULTS, WORKERS
from tests.benchmarks.catalogue import MEASURES
from tests.benchmarks.children import interrupt_once
from tests.benchmarks.figures import number, shown
from tests.benchmarks.model_fit import COSTS, Assumptions, Cost
from tests.benchmarks.progress import Progress
from tests.benchmarks.report import DATA, SCHEMA, WIDTH
from tests.benchmarks.results import Failed
from tests.benchmarks.sizes import FULL, QUICK, SIZES, Sizes
from tests.benchmarks.trials import Bench

RATES = (5_000.0, 50_000.0, 500_000.0)
TITLES = {
    "worker_cores": "worker cores",
    "worker_processes": "worker processes, one core each",
    "client_cores": "cores of those who start runs",
    "postgres_cores": "Postgres cores",
    "postgres_servers": "Postgres servers of the assumed size",
    "wal_mb_per_s": "WAL, MB/s",
    "rows_per_s": "rows written/s",
    "commits_per_s": "commits/s",
    "statements_per_s": "messages to Postgres (statements)/s",
    "stream_cores": "stream server cores",
    "stream_shards": "stream servers, one core each",
    "stream_commands_per_s": "messages to stream servers (commands)/s",
    "stream_mb_per_s": "from and to stream servers, MB/s",
}

ASSUMED = (
    "Assumed: no core busier than {utilisation:.0%}; a Postgres of at most {postgres_cores} cores, which scales with "
    "them and writes {wal_mb_per_s:g} MB/s of WAL; a stream server that executes its commands on one core; steps that "
    "do nothing, with small inputs and outputs; transactions shared by as many runs as here; processors as fast as "
    "this one. The network's own cost, and replicas, are not counted."
)


def parse(words: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    given = Assumptions()
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.model", description=__doc__)
    parser.add_argument("--from", dest="source", type=Path, metavar="FILE", help="a result of make bench")
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="FOLDER", help="where to look for the newest")
    parser.add_argument(
        "--rates", type=numbers, default=",".join(f"{rate:g}" for rate in RATES), help="runs/s (default: %(default)s)"
    )
    parser.add_argument("--steps", type=int, default=given.steps, help="steps of a run (default: %(default)s)")
    parser.add_argument("--utilisation", type=float, default=given.utilisation, help="of a core (default: %(default)s)")
    parser.add_argument("--postgres-cores", type=int, default=given.postgres_cores, help="default: %(default)s")
    parser.add_argument("--wal-mb", type=float, default=given.wal_mb_per_s, help="MB/s of WAL (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="measure less of what is missing")
    parser.add_argument("--size", choices=list(SIZES), default=FULL.name, help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true", help="print data")
    return parser.parse_args(words)


def numbers(text: str) -> list[float]:
    """Read numbers separated by commas."""
    return [float(word) for word in text.split(",")]


def newest(results: Path) -> Path | None:
    """Return the newest result of a folder that has all that is needed, or else the newest."""
    found = sorted(results.glob(f"*/{DATA}"), reverse=True)
    complete = (path for path in found if not model_fit.missing(model_fit.points(load(path)["trials"])))
    return next(complete, next(iter(found), None))


def load(path: Path | None) -> dict[str, Any]:
    """Read a result; nothing when there is none."""
    if path is None:
        return {}
    try:
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Failed(f"{path} cannot be read: {error}") from error
    if document.get("schema") != SCHEMA:
        raise Failed(f"{path} is not a result of make bench")
    return document


def measure(names: Sequence[str], sizes: Sizes) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Measure what is missing; return the trials and the machine."""
    with place.opened() as here:
        bench = Bench(here, sizes, workers=WORKERS, peers=False, progress=Progress())
        for name in names:
            title, one = MEASURES[name]
            bench.progress.title(f"{name}: {title}")
            bench.measure = name
            one(bench)
        return bench.trials, machine.machine(here.home)


def model(costs: Mapping[str, Cost], rates: Sequence[float], given: Assumptions, cores: int) -> dict[str, Any]:
    """Return the model as data."""
    first = model_fit.limits(costs, given)
    return {
        "schema": "flowforge/benchmark-model/v1",
        "assumptions": {name: getattr(given, name) for name in Assumptions.__dataclass_fields__},
        "costs": {name: {"constant": one.constant, "step": one.step} for name, one in costs.items()},
        "this_machine": {"cores": cores, "runs_per_s": model_fit.alone(costs, cores, given.steps)},
        "needs": [{"runs_per_s": rate, **model_fit.needs(costs, rate, given)} for rate in rates],
        "limits": [{"part": one.part, "runs_per_s": one.runs_per_s, "remedy": one.remedy} for one in first],
    }


def text(document: Mapping[str, Any]) -> list[str]:
    """Return the model for a person."""
    given, alone = document["assumptions"], document["this_machine"]
    titles = [f"{needed['runs_per_s']:,.0f} runs/s" for needed in document["needs"]]
    needs = [[title, *(_amount(needed[name]) for needed in document["needs"])] for name, title in TITLES.items()]
    limits = [[one["part"], f"{one['runs_per_s']:,.0f} runs/s", one["remedy"]] for one in document["limits"]]
    return [
        *_costs(document["costs"], given["steps"]),
        "",
        *table.aligned(["what it needs", *titles], needs, titles),
        "",
        *table.aligned(["what is full first", "at", "then"], limits, ["at"]),
        "",
        *wrap(
            "Workers are never what is full: there can always be more of them. This machine, where all parts share "
            f"{alone['cores']} cores, is full at about {alone['runs_per_s']:,.0f} runs/s by the same arithmetic.",
            WIDTH,
        ),
        "",
        *wrap(ASSUMED.format(**given), WIDTH),
    ]


def _costs(documents: Mapping[str, Mapping[str, float]], steps: int) -> list[str]:
    costs = {name: Cost(**one) for name, one in documents.items()}
    paid = [
        [title, shown(cost.of(steps), unit), shown(cost.constant, unit), shown(cost.step, unit)]
        for name, (title, unit) in COSTS.items()
        if (cost := costs.get(name)) is not None
    ]
    header = [f"a run of {steps} steps costs", "in all", "constant", "per step"]
    return table.aligned(header, paid, header[1:])


def _amount(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else number(value)


def _origin(source: Path | None, result: Mapping[str, Any]) -> str:
    if source is None:
        return "there is no result of make bench yet"
    return f"from {source}" + ("" if result.get("size") == FULL.name else f", of size {result.get('size')}")


def main(words: Sequence[str]) -> int:
    """Print the model; return the exit code."""
    chosen = parse(words)
    interrupt_once()
    given = Assumptions(chosen.steps, chosen.utilisation, chosen.postgres_cores, chosen.wal_mb)
    try:
        source = chosen.source or newest(chosen.results)
        result = load(source)
        print(_origin(source, result), file=sys.stderr)
        trials, seen = result.get("trials", []), result.get("machine", {})
        if names := model_fit.missing(model_fit.points(trials)):
            print(f"measuring what is missing: {', '.join(names)}", file=sys.stderr)
            more, seen = measure(names, QUICK if chosen.quick else SIZES[chosen.size])
            trials = [*trials, *more]
    except Failed as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    costs = model_fit.fit(model_fit.points(trials))
    document = model(costs, chosen.rates, given, int(seen["cores"] or 1)) | {"source": str(source) if source else None}
    print(json.dumps(document, indent=2) if chosen.json else "\n".join(text(document)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

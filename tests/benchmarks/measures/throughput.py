"""Chains of three steps, as many as possible: runs a second, what a run costs each role, and the workers' memory."""

from __future__ import annotations

from tests.benchmarks.figures import growth, median, number
from tests.benchmarks.results import Curve, Found, Goal, Row
from tests.benchmarks.trials import Bench, Trial

#: Peers take turns with the first repetitions of ours.
PEER_TURNS = 2


def linear(bench: Bench) -> Found:
    """Measure linear:3 against the peers, in turns, each time on a new database."""
    sizes, trials = bench.sizes, []
    peers: dict[str, list[float]] = {}
    for turn in range(sizes.repeats):
        bench.place.renew()
        trials.append(bench.flowforge("linear:3", runs=sizes.runs))
        for name, count in (("dbos", sizes.dbos_runs), ("celery", sizes.celery_runs)):
            if turn < PEER_TURNS and (found := bench.peer(name, "linear", count)):
                peers.setdefault(name, []).append(found["runs_per_s"])
    rates = [trial.runs_per_s for trial in trials]
    goal = Goal(5_000, higher=True, times={"dbos": 25, "celery": 12})
    title = f"linear:3, {sizes.runs:,} runs"
    figures = {name: median(values) for name, values in peers.items()}
    rows = [Row("linear", title, median(rates), "runs/s", goal, figures, _batch(trials[0]))]
    repeated = {title: rates} | {f"{name}'s linear:3": values for name, values in peers.items()}
    return Found([*rows, *_costs(trials), *_memory(trials)], repeated=repeated)


def _batch(trial: Trial) -> str:
    settings = trial.document["settings"]
    return (
        f"{trial.document['workers']} workers, {settings['batch']} a batch, {settings['in_flight']:,} under way at most"
    )


def _costs(trials: list[Trial]) -> list[Row]:
    """Return the processor time of one run, by role."""
    roles = {
        "python": ("CPU of a run: Python (workers and client)", ("workers", "client"), 200),
        "postgres": ("CPU of a run: Postgres", ("postgres",), 130),
        "streams": ("CPU of a run: stream server", ("streams",), 30),
    }
    rows = []
    for key, (title, names, bound) in roles.items():
        each = [trial.seconds(*names) / trial.document["runs"] * 1e6 for trial in trials]
        rows.append(Row(f"linear.cpu.{key}", title, median(each), "µs", Goal(bound)))
    clients = median([trial.seconds("client") / trial.document["runs"] * 1e6 for trial in trials])
    first = rows[0]
    detail = f"of it the client {number(clients)} µs"
    return [Row(first.key, first.title, first.value, first.unit, first.goal, detail=detail), *rows[1:]]


def _memory(trials: list[Trial]) -> list[Row]:
    peak = max(trial.document["worker_peak_mb"] for trial in trials)
    flat = max(growth(trial.document.get("worker_memory_mb", ())) for trial in trials)
    return [
        Row("linear.memory", "memory of a worker, peak", peak, "MB", Goal(150)),
        Row("linear.memory.growth", "memory of a worker, growth", flat, "%", Goal(0.05), detail="2nd to last quarter"),
    ]


def workers(bench: Bench) -> Found:
    """Measure linear:3 with one worker process, two, and more."""
    points = []
    for count in bench.sizes.workers:
        bench.place.renew()
        trial = bench.flowforge("linear:3", runs=bench.sizes.compared_runs, workers=count)
        points.append((float(count), trial.runs_per_s))
    return Found(curves=[Curve("workers", "linear:3", points)])


def shapes(bench: Bench) -> Found:
    """Measure chains of other lengths, for the model: what a run costs, and what each of its steps."""
    for steps, share in ((1, 1.0), (10, 0.25)):
        bench.place.renew()
        bench.flowforge(f"linear:{steps}", runs=max(20, int(bench.sizes.compared_runs * share)))
    return Found()


def statements(bench: Bench) -> Found:
    """Count the statements of linear:3, for the model; in a trial of its own, since counting them is not free."""
    bench.place.renew()
    bench.place.log_statements()
    before = bench.place.statements()
    trial = bench.flowforge("linear:3", runs=bench.sizes.compared_runs)
    sent = bench.place.statements() - before
    bench.trials[-1]["counted"]["statements"] = sent
    each = sent / (trial.document["runs"] + trial.document["settings"]["warm_up"])
    detail = "BEGIN and COMMIT included"
    return Found([Row("linear.statements", "statements to Postgres a run, linear:3", each, "", detail=detail)])

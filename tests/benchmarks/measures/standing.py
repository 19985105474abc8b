"""What changes the figure of an empty, unlimited installation: finished runs by the million, and a gate."""

from __future__ import annotations

from tests.benchmarks import gate_proof
from tests.benchmarks.children import workers
from tests.benchmarks.figures import median, number
from tests.benchmarks.history_fill import Filler
from tests.benchmarks.results import Curve, Found, Goal, Row
from tests.benchmarks.trials import Bench

LIMIT = 100


def history(bench: Bench) -> Found:
    """Measure linear:3 in an empty database and in one with more and more finished runs."""
    bench.place.renew()
    sizes, figures = bench.sizes, {}
    figures[0] = _rates(bench)
    with workers(1, "default", bench.place.environment):
        bench.tool("searching", "--begin")
    with bench.place.connect() as connection:
        filler = Filler(connection, sizes.history[-1])
        for wanted in sizes.history[1:]:
            bench.progress.line(f"filling the database up to {wanted:,} finished runs")
            filler.fill(wanted, lambda done, of: bench.progress.passing(f"{done:,} of {of:,} runs"))
            bench.progress.passed()
            figures[wanted] = _rates(bench)
        size = bench.place.gigabytes()
    searched = bench.tool("searching")["milliseconds"]
    slowest = max(searched, key=searched.__getitem__)
    empty, full = median(figures[0]), median(figures[sizes.history[-1]])
    title = f"linear:3 with {sizes.history[-1]:,} finished runs"
    detail = f"{full:,.0f} of {empty:,.0f} runs/s; the database has {number(size)} GB"
    row = Row("history", f"{title}, of empty", full / empty, "%", Goal(0.85, higher=True), detail=detail)
    words = f"{len(searched)} filters and orders, half of them within {number(median(list(searched.values())))} ms"
    search = Row("search", "ps among them, slowest", searched[slowest], "ms", Goal(200), detail=f"{words}; {slowest}")
    curve = Curve("history", "linear:3", [(float(count), median(rates)) for count, rates in figures.items()])
    repeated = {f"linear:3 with {count:,}": rates for count, rates in figures.items()}
    return Found([row, search], [curve], repeated)


def _rates(bench: Bench) -> list[float]:
    repeats = min(2, bench.sizes.repeats)
    return [bench.flowforge("linear:3", runs=bench.sizes.compared_runs).runs_per_s for _ in range(repeats)]


def gates(bench: Bench) -> Found:
    """Measure linear:3 with a limit of active runs and without, in turns, and prove that the limit held."""
    sizes, free, limited, proofs = bench.sizes, [], [], []
    with bench.place.remembering_commits():
        for _ in range(min(2, sizes.repeats)):
            bench.place.renew()
            free.append(bench.flowforge("linear:3", runs=sizes.compared_runs).runs_per_s)
            limited.append(bench.flowforge("linear:3", runs=sizes.compared_runs, gate=LIMIT).runs_per_s)
            with bench.place.connect() as connection:
                proofs.append(gate_proof.look(connection, f"bench-linear-3-gate-{LIMIT}"))
    share, detail = median(limited) / median(free), f"{median(limited):,.0f} of {median(free):,.0f} runs/s"
    most = max(proof.most for proof in proofs)
    proof = f"counted after each of {sum(proof.commits for proof in proofs):,} commits, in the order of commits"
    rows = [
        Row("gate", f"gate of {LIMIT}, of unlimited", share, "%", Goal(0.5, higher=True), detail=detail),
        Row(
            "gate.most",
            f"gate of {LIMIT}: most active after any commit",
            most,
            "runs",
            Goal(LIMIT),
            detail=proof if most >= LIMIT else f"{proof}; it was never full",
        ),
    ]
    return Found(rows, repeated={"unlimited": free, f"gate of {LIMIT}": limited})

"""How long one run takes alone, and how long a caller waits for its start."""

from __future__ import annotations

from tests.benchmarks.children import workers
from tests.benchmarks.figures import median
from tests.benchmarks.results import Found, Goal, Row
from tests.benchmarks.trials import Bench

CALLERS = 100
#: Starts a second of all callers together, while workers execute what they start.
OFFERED = 500


def serial(bench: Bench) -> Found:
    """Measure three steps, one run at a time: from its creation to its end, and as the caller sees it."""
    bench.place.renew()
    sizes, peers, trials = bench.sizes, {}, []
    for turn in range(sizes.repeats):
        trials.append(bench.flowforge(f"serial:{sizes.serial}").document)
        for name in ("dbos", "celery"):
            if turn == 0 and (found := bench.peer(name, "serial", sizes.peer_serial)):
                peers[name] = found["waited_ms"]
    below = {"dbos": 1.0, "celery": 1.0}
    rows = []
    for figure, title in (("latency_ms", "creation to end"), ("waited_ms", "seen by the caller")):
        seen = peers if figure == "waited_ms" else {}
        for share, bound in (("p50", 5), ("p99", 15)):
            goal = Goal(bound, times=below if share == "p50" and figure == "waited_ms" else {})
            value = median([trial[figure][share] for trial in trials])
            others = {name: found[share] for name, found in seen.items()}
            rows.append(Row(f"serial.{figure}.{share}", f"serial:3 {share}, {title}", value, "ms", goal, others))
    return Found(rows, repeated={"serial:3": [trial["latency_ms"]["p50"] for trial in trials]})


def starts(bench: Bench) -> Found:
    """Measure `client.run` with many callers: as fast as they can, and at a steady rate beside busy workers."""
    words = ["--callers", str(CALLERS), "--calls", str(bench.sizes.start_calls)]
    bench.place.renew()
    found = bench.tool("starting", *words)
    detail = f"{found['starts_per_s']:,.0f} starts/s, each caller calling again at once; nobody executes"
    rows = _start_rows("start", f"start, {CALLERS} callers at once", found["start_ms"], detail)
    bench.place.renew()
    with workers(bench.workers, "bench", bench.place.environment):
        steady = bench.tool(
            "starting", *words[:2], "--calls", str(bench.sizes.start_calls // 4), "--rate", str(OFFERED)
        )
    detail = f"{bench.workers} workers execute them"
    title = f"start, {CALLERS} callers, {OFFERED} calls/s"
    return Found([*rows, *_start_rows("start.steady", title, steady["start_ms"], detail)])


def _start_rows(key: str, title: str, figures: dict[str, float], detail: str) -> list[Row]:
    return [
        Row(f"{key}.p50", f"{title}: p50", figures["p50"], "ms", detail=detail),
        Row(f"{key}.p95", f"{title}: p95", figures["p95"], "ms", Goal(20)),
        Row(f"{key}.p99", f"{title}: p99", figures["p99"], "ms"),
    ]

"""Every notebook on every scenario, live and from a bundle: executed in kernels, and the planted cause must be found.

`make notebooks`. Servers of its own are started in a temporary folder; nothing of it stays.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from flowforge import Client
from flowforge import forensics as fx
from flowforge.engine.engine import Endpoints
from flowforge.errors import FlowforgeError
from flowforge.forensics import notebooks
from flowforge.settings import Settings
from tests.support.servers import Servers, Stock, running, template

#: The notebooks whose findings have to name the cause of a scenario; all others have to hold their asserts.
NAMES = {
    "01_run_postmortem": set(fx.SCENARIOS),
    "02_incident_window": set(fx.SCENARIOS),
    "03_good_vs_bad": {"bad_deploy"},
    "04_latency_and_capacity": {"slow_dependency", "gate_starvation"},
    "05_delivery_audit": {"worker_lost", "duplicate_effects"},
}


def main() -> int:
    """Play and execute; return how many notebooks failed."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--scenario", action="append", choices=fx.SCENARIOS, help="only these")
    arguments.add_argument("--keep", type=Path, help="folder that reports are kept in")
    chosen = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="ffn-", dir="/tmp") as folder, running() as servers:
        place = chosen.keep or Path(folder)
        place.mkdir(parents=True, exist_ok=True)
        with template(servers) as name:
            stock = Stock(servers, name)
            try:
                return sum(_scenario(one, servers, stock, place) for one in chosen.scenario or fx.SCENARIOS)
            finally:
                stock.close()


def _scenario(name: str, servers: Servers, stock: Stock, place: Path) -> int:
    with stock.lend() as url:
        settings = Settings(database_url=url, redis_url=servers.redis_url, receipts=False)
        with Client(settings, endpoints=Endpoints(url, servers.redis_url)) as client:
            played = fx.scenario(name, client=client)
        with fx.open_source(url) as live:
            bundle = fx.export_bundle(played.runs, place / f"{name}.ffz", source=live)
            affected = _affected(played, live)
        played.effects.to_csv(place / f"{name}.csv", index=False)
        return sum(
            not _executed(notebook, name, str(source), affected, place)
            for notebook in notebooks.QUESTIONS
            for source in (url, bundle)
        )


def _affected(played: fx.Scenario, live: Any) -> str:
    twice = fx.duplicates(runs=played.runs, source=live)
    if played.name == "duplicate_effects" and len(twice):
        return str(twice["run"].iloc[0])
    assert played.bad is not None
    return played.bad


def _executed(notebook: str, scenario: str, source: str, affected: str, place: Path) -> bool:
    began, where = time.monotonic(), "live" if "://" in source else "bundle"
    values: dict[str, Any] = {"SOURCE": source}
    if notebook in ("00_start_here", "01_run_postmortem"):
        values["RUN"] = affected
    if notebook == "05_delivery_audit":
        values["EFFECTS"] = str(place / f"{scenario}.csv")
    try:
        done = notebooks.executed(notebooks.filled(notebook, **values), place)
        notebooks.report(done, place / f"{scenario}-{notebook}-{where}.html")
    except FlowforgeError as error:
        return _say(notebook, scenario, where, began, str(error))
    wanted = scenario.replace("_", " ") if scenario in NAMES.get(notebook, ()) else None
    cell = next(one for one in done.cells if one.cell_type == "code" and "fx.tell(" in one.source)
    told = str(cell.outputs[-1]["data"]["text/html"])
    missing = wanted is not None and f"<b>{wanted}</b>" not in told
    return _say(notebook, scenario, where, began, f"does not find {wanted}: {told}" if missing else None)


def _say(notebook: str, scenario: str, where: str, began: float, wrong: str | None) -> bool:
    took = time.monotonic() - began
    print(f"{'ok  ' if wrong is None else 'FAIL'} {scenario:<18}{notebook:<26}{where:<8}{took:5.1f} s  {wrong or ''}")
    sys.stdout.flush()
    return wrong is None


if __name__ == "__main__":
    os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    sys.exit(main())

"""Every notebook executes from its first cell to its asserts, on a bundle alone and without any server."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from flowforge.forensics import notebooks
from tests.integration.forensics.conftest import Incidents
from tests.support.family import family


class Fetched(HTMLParser):
    """What a page fetches from elsewhere when it is opened."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        wanted = {"script": "src", "link": "href", "img": "src", "iframe": "src"}.get(tag)
        self.found += [value for name, value in attrs if name == wanted and value and value.startswith("http")]


#: What the findings of a notebook have to name when all scenarios were played.
FOUND = {
    "00_start_here": ["gate starvation", "bad deploy"],
    "01_run_postmortem": ["failed step", "bad deploy"],
    "02_incident_window": ["retry storm", "worker lost", "gate starvation", "bad deploy", "slow dependency"],
    "03_good_vs_bad": ["bad deploy"],
    "04_latency_and_capacity": ["slow dependency", "gate starvation"],
    "05_delivery_audit": ["worker lost", "duplicate effects"],
}


@pytest.mark.parametrize("name", family(notebooks.QUESTIONS, quick=["01_run_postmortem"]))
def test_a_notebook_answers_from_a_bundle(incidents: Incidents, name: str, tmp_path: Path):
    copy = notebooks.filled(name, SOURCE=str(incidents.path))

    done = notebooks.executed(copy, tmp_path)
    notebooks.report(done, tmp_path / "report.html")

    told = _findings(done)
    for cause in FOUND[name]:
        assert f"<b>{cause}</b>" in told
    report = (tmp_path / "report.html").read_text()
    assert notebooks.QUESTIONS[name][1:] in report
    assert not Fetched(report).found


def _findings(notebook: Any) -> str:
    """Return what the cell that tells findings shows."""
    cell = next(one for one in notebook.cells if one.cell_type == "code" and "fx.tell(" in one.source)
    return str(cell.outputs[-1]["data"]["text/html"])

"""`flowforge notebook`: the right notebook, filled in, or a report."""

from __future__ import annotations

import json

from tests.acceptance.cli.conftest import Shell

FLOW = "name: noted\nsteps: [{id: only, type: transform, config: {expression: input.x}}]\n"


def test_the_notebooks_are_listed_with_their_questions(flowforge: Shell):
    listed = flowforge("notebook", "--list", "--json").document

    assert listed["schema"] == "flowforge/notebooks/v1"
    assert len(listed["notebooks"]) == 6


def test_a_run_gets_its_post_mortem_and_a_report_without_a_browser(flowforge: Shell):
    flowforge.write("noted.yaml", FLOW)
    run = flowforge("run", "noted.yaml", "-i", "x=1", "--wait", "--json").document

    made = flowforge("notebook", run["id"][:13], "--no-open", "--json").document
    report = flowforge("notebook", run["id"], "--execute", "-o", "report.html")

    assert made["notebook"] == "01_run_postmortem"
    assert made["parameters"]["RUN"] == run["id"]
    cells = json.loads((flowforge.folder / made["file"]).read_text())["cells"]
    assert any(f"RUN = '{run['id']}'" in "".join(cell["source"]) for cell in cells)
    assert report.out == "report.html\n"
    text = (flowforge.folder / "report.html").read_text()
    assert "noted@1" in text
    assert "Findings" in text


def test_what_cannot_be_is_refused_in_a_line(flowforge: Shell):
    assert "no run" in flowforge("notebook", "ffffffffffff", code=3).err
    assert "--execute" in flowforge("notebook", "-o", "report.html", code=2).err
    assert "04_latency" in flowforge("notebook", "--name", "nothing", code=2).err
    assert "no bundle" in flowforge("notebook", "@last", "--bundle", "nothing.ffz", code=3).err

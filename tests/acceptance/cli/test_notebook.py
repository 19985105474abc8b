"""`flowforge notebook`: the right notebook, filled in, or a report."""

from __future__ import annotations

import json

from tests.acceptance.cli.conftest import Shell

FLOW = "name: noted\nsteps: [{id: only, type: transform, config: {expression: input.x}}]\n"


def test_the_notebooks_are_listed_with_their_questions(shell: Shell):
    listed = shell("notebook", "--list", "--json").document

    assert listed["schema"] == "flowforge/notebooks/v1"
    assert len(listed["notebooks"]) == 6


def test_a_run_gets_its_post_mortem_and_a_report_without_a_browser(shell: Shell):
    shell.write("noted.yaml", FLOW)
    run = shell("run", "noted.yaml", "-i", "x=1", "--wait", "--json").document

    made = shell("notebook", run["id"][:13], "--no-open", "--json").document
    report = shell("notebook", run["id"], "--execute", "-o", "report.html")

    assert made["notebook"] == "01_run_postmortem"
    assert made["parameters"]["RUN"] == run["id"]
    cells = json.loads((shell.folder / made["file"]).read_text())["cells"]
    assert any(f"RUN = '{run['id']}'" in "".join(cell["source"]) for cell in cells)
    assert report.out == "report.html\n"
    text = (shell.folder / "report.html").read_text()
    assert "noted@1" in text
    assert "Findings" in text


def test_what_cannot_be_is_refused_in_a_line(shell: Shell):
    assert "no run" in shell("notebook", "ffffffffffff", code=3).err
    assert "--execute" in shell("notebook", "-o", "report.html", code=2).err
    assert "04_latency" in shell("notebook", "--name", "nothing", code=2).err
    assert "no bundle" in shell("notebook", "@last", "--bundle", "nothing.ffz", code=3).err

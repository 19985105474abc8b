"""`flowforge workflow` and `init`."""

from __future__ import annotations

import json

from jsonschema import Draft7Validator

from tests.acceptance.cli.conftest import FAILING, QUICK, Flow, Shell


def test_lint_needs_no_server_and_finds_everything(flowforge: Shell, flow: Flow):
    """Exit code 20 when there are findings, as words with carets and as data."""
    lint = flowforge.within(FLOWFORGE_HOME="/dev/null/nowhere")
    good = flow(QUICK)
    bad = flow(QUICK.replace("id: a", "id: a, depends_on: [b, c]"), name="bad.yaml")
    assert "1 of 1 valid" in lint("workflow", "lint", good).err
    done = lint("workflow", "lint", good, bad, code=20)
    assert done.err.count("error[FF012]") == 2
    assert "1 of 2 valid" in done.err
    document = lint("workflow", "lint", good, bad, "--json", code=20).document
    assert document["schema"] == "flowforge/lint/v1"
    assert [one["valid"] for one in document["files"]] == [True, False]
    first = document["files"][1]["diagnostics"][0]
    assert (first["code"], first["line"], first["severity"]) == ("FF012", 5, "error")
    lint("workflow", "lint", "nothing.yaml", code=3)


def test_versions_are_published_listed_and_archived(flowforge: Shell, flow: Flow, queue: str):
    """A draft cannot run, an archived version cannot either, the others can."""
    first = flowforge("workflow", "publish", flow(QUICK), "--json")
    assert (first.document["schema"], first.document["version"]) == ("flowforge/published/v1", 1)
    assert "is unchanged" in flowforge("workflow", "publish", flow(QUICK)).err
    assert "kept as a draft" in flowforge("workflow", "publish", flow(FAILING), "--draft").err
    assert "draft" in flowforge("run", f"{queue}@2", code=7).err
    assert f"published {queue} version 2" in flowforge("workflow", "publish", queue).err
    shown = flowforge("workflow", "show", queue, "--json").document
    assert (shown["version"], [one["status"] for one in shown["versions"]]) == (2, ["published", "published"])
    archived = flowforge("workflow", "archive", f"{queue}@2", "--json").document
    assert [one["version"] for one in archived["versions"]] == [2]
    assert flowforge("run", queue, "--json").document["version"] == 1
    listed = flowforge("workflow", "ls", "--json").document["workflows"]
    assert [one["latest"] for one in listed if one["name"] == queue] == [1]
    assert queue in flowforge("workflow", "ls").out
    flowforge("workflow", "show", f"{queue}@9", code=3)
    flowforge("workflow", "archive", "nothing-here", code=3)


def test_what_is_stored_comes_back_as_yaml_that_is_the_same(flowforge: Shell, flow: Flow, queue: str):
    """The YAML shown can be published, and is no new version."""
    flowforge("workflow", "publish", flow(QUICK, top="description: 'yes: a \"name\"'"))
    text = flowforge("workflow", "show", queue, "--yaml").out
    assert "is unchanged" in flowforge("workflow", "publish", flowforge.write("again.yaml", text)).err


def test_a_graph_is_drawn_from_a_file_and_from_the_store(flowforge: Shell, flow: Flow, queue: str):
    """As text, Mermaid and DOT."""
    file = flow(f"{QUICK}\n" + QUICK.replace("id: a", "id: b, depends_on: a"))
    flowforge("workflow", "publish", file)
    for target in (file, queue, f"{queue}@1"):
        assert flowforge("workflow", "graph", target).out.startswith(f"{queue}\n")
        assert flowforge("workflow", "graph", target, "--format", "mermaid").out.startswith("flowchart")
        assert flowforge("workflow", "graph", target, "-f", "dot").out.startswith("digraph")


def test_the_schema_accepts_what_is_accepted(flowforge: Shell):
    """It is a JSON Schema for editors."""
    schema = flowforge("workflow", "schema").document
    Draft7Validator.check_schema(schema)
    definition = {"name": "abc", "steps": [{"id": "a", "type": "transform", "config": {"expression": "1"}}]}
    assert Draft7Validator(schema).is_valid(definition)
    assert not Draft7Validator(schema).is_valid({"name": "abc"})


def test_a_new_project_runs_as_it_is_and_is_never_overwritten(flowforge: Shell):
    """init writes what the hint says to run. The commands are started as they are installed."""
    cold = Shell(flowforge.folder, flowforge.variables, cold=True)
    done = cold("init", "shop", "--json")
    assert {"flowforge.toml", "flows/hello.yaml", "flows/tasks.py"} <= set(done.document["written"])
    project = Shell(flowforge.folder / "shop", flowforge.variables, cold=True)
    run = project("run", "flows/hello.yaml", "-i", "name=Ada", "--wait", "--json").document
    assert run["output"] == {"count": {"letters": len("Hello, Ada!")}}
    assert "greeting Ada" in project("logs", run["id"]).out
    project.write("flowforge.toml", "lease = '7s'\n")
    assert project("init", "--json").document["kept"] == done.document["written"]
    shown = json.loads(project("config", "show", "--json").out)["settings"]
    assert shown["lease"]["value"] == "7.0s"
    assert shown["lease"]["source"].endswith("shop/flowforge.toml")


def test_the_order_of_a_new_project_is_undone_when_it_cannot_be_shipped(flowforge: Shell):
    """What it says in its first lines is so."""
    flowforge("init", "shop")
    project = Shell(flowforge.folder / "shop", flowforge.variables)
    order = ("run", "flows/order.yaml", "-i", "order=A17", "-i", "amount=120", "--wait", "--json")
    assert project(*order).document["output"] == {"ship": {"shipped": "A17"}}
    run = project(*order, "-i", "parcel=lost", code=5).document
    assert run["compensation"]["status"] == "completed"
    assert "refunding payment-A17: LookupError" in project("logs", run["id"], "charge:compensate").out

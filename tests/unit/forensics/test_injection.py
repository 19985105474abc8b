"""What a run holds is shown, and never becomes markup: in cards, findings, figures and reports."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from uuid import UUID

import pytest

from flowforge import forensics as fx
from flowforge.errors import UsageError
from flowforge.forensics import notebooks
from flowforge.model import card
from flowforge.model.status import RunStatus
from tests.unit.forensics.support import RUN, bundle, case, error, retried

EVIL = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'><svg onload=alert(1)>"
TAGS = {"div", "b", "code", "span", "svg", "rect", "text", "title", "ol", "li", "br"}


class Tags(HTMLParser):
    """The tags of a text, with the names of their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}


def _evil():
    told = retried()
    told[-2] = (10, "step.failed", "charge", 2, {"error": error(message=EVIL)})
    told[-1] = (10, "workflow.failed", None, None, {"error": error(message=EVIL)})
    told = [(*one[:2], EVIL if one[2] else None, *one[3:]) for one in told]
    return case(
        told,
        step=EVIL,
        workflow=EVIL,
        trigger=EVIL,
        labels={EVIL: EVIL},
        input={EVIL: EVIL},
        status=RunStatus.FAILED,
        error=error(message=EVIL),
    )


def _harmless(text: str) -> None:
    found = Tags(text)
    assert found.tags <= TAGS, found.tags
    assert not {name for name in found.attributes if name.startswith("on")}
    assert "alert(1)" in text


def test_a_card_holds_no_markup_of_the_run():
    # The definition has no such step, so the card is drawn from the rows.
    run = _evil().capsule.run
    _harmless(run._repr_html_())
    assert EVIL in card.text(run.document())


def test_findings_hold_no_markup_of_the_run():
    source = bundle(*(_numbered(no) for no in range(1, 8)))
    found = fx.findings(source=source)

    assert "error_cluster" in set(found["cause"])
    _harmless(fx.tell(found)._repr_html_())
    assert EVIL[:20] in str(fx.tell(found))


def test_frames_hold_no_markup_of_the_run():
    # Words of a frame's table, none of a run's.
    table = fx.errors(source=bundle(_numbered(1))).to_html()
    assert not {"script", "img", "svg"} & Tags(table).tags


def test_figures_hold_no_markup_of_the_run():
    source = bundle(*(_numbered(no) for no in range(1, 8)))
    figures = [
        fx.plot.errors(fx.cluster_errors(fx.errors(source=source))),
        fx.plot.latency(fx.latency(source=source)),
        fx.plot.trend(fx.trend(source=source)),
        fx.plot.retry_storm(fx.retry_storms(source=source)),
        fx.plot.queue_depth(fx.queue_depth(source=source)),
    ]
    for figure in figures:
        assert figure.layout.title.text.endswith("?")
        assert not {"script", "img", "svg"} & {
            tag for text in _texts(figure.to_plotly_json()) for tag in Tags(text).tags
        }


def test_parameters_are_literals_never_code():
    evil = "x'; import os; os.abort(); '"
    notebook = notebooks.filled("01_run_postmortem", RUN=evil)
    cell = next(one for one in notebook["cells"] if "parameters" in one["metadata"].get("tags", ()))
    values: dict[str, str] = {}
    exec(cell["source"], values)

    assert values["RUN"] == evil
    with pytest.raises(UsageError):
        notebooks.filled("01_run_postmortem", COLOUR="red")


def test_a_file_that_is_no_bundle_is_refused(tmp_path: Path):
    for content in (b"", b"{}", b"PK\x03\x04 not really", json.dumps({"run": 1}).encode()):
        (tmp_path / "bad.ffz").write_bytes(content)
        with pytest.raises(UsageError):
            fx.open_source(tmp_path / "bad.ffz")


def test_what_is_nobody_elses_business_is_not_in_a_bundle(tmp_path: Path):
    source = bundle(case(retried(), input={"order": 1, "password": "hunter2"}))

    path = fx.export_bundle(str(RUN), tmp_path / "one.ffz", source=source)
    whole = fx.export_bundle(str(RUN), tmp_path / "all.ffz", redact=None, source=source)

    assert fx.open_source(path).case(RUN).run["input"] == {"order": 1, "password": "[redacted]"}
    assert fx.open_source(whole).case(RUN).run["input"] == {"order": 1, "password": "hunter2"}


def _numbered(no: int):
    evil = _evil()
    run_id = UUID(int=RUN.int + no)
    told = [(one.at.timestamp(), one.type, one.step, one.attempt, one.data) for one in evil.capsule.events]
    begin = told[0][0]
    run = evil.capsule.run
    return case(
        [(when - begin, *rest) for when, *rest in told],
        run_id,
        step=EVIL,
        workflow=EVIL,
        status=run.status,
        error=run.error,
    )


def _texts(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for one in value.values() for text in _texts(one)]
    return [text for one in value for text in _texts(one)] if isinstance(value, list | tuple) else []


def test_nothing_of_a_run_drives_a_terminal_or_is_read_as_a_formula():
    words = "\x1b]0;owned\x07 \x1b[31mred $x^2$"
    failed = [*retried()[:4], (3, "step.failed", "charge", 1, {"error": error(message=words)})]
    source = bundle(case(failed, status=RunStatus.FAILED, error=error(message=words)))
    clusters = fx.cluster_errors(fx.errors(source=source))

    shown = [str(fx.tell(fx.findings(source=source))), repr(fx.run("@last", source=source)), clusters.to_string()]

    assert not any("\x1b" in text or "\x07" in text for text in shown)
    assert "red" in shown[0]
    assert "$" not in "".join(fx.plot.errors(clusters).data[0].y)
    for page in (fx.tell(fx.findings(source=source))._repr_html_(), fx.run("@last", source=source)._repr_html_()):
        assert "mathjax_ignore" in page
    assert "mathjax_ignore" in clusters.to_html()

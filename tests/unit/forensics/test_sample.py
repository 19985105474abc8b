"""Of very many runs only some are asked, and every answer that is made of them says so."""

from __future__ import annotations

import pandas as pd
import pytest

from flowforge import forensics as fx
from flowforge.forensics import frames, sample
from flowforge.forensics.findings import made
from flowforge.forensics.queues import QUEUE_DEPTH
from flowforge.store.forensics import statements, window


@pytest.mark.parametrize(("runs", "share"), [(1e6, 0.05), (2e5, 0.25)])
def test_of_very_many_runs_as_many_are_asked_as_of_many(runs: float, share: float):
    taken = sample.taken(runs)

    assert taken is not None
    assert taken.share == share
    assert sample.taken(99_999) is None


def test_what_some_came_to_is_told_as_what_all_would_have_come_to():
    found = pd.DataFrame({"count": [3], "exec_sum": [0.3], "exec": [0.1]})

    grown = sample.Sample(0.25, 400_000).grown(found, ["count", "exec_sum"])

    assert grown.iloc[0].tolist() == [12, 1.2, 0.1]
    assert grown.attrs["sampled"]["share"] == 0.25
    assert "25% of about 400,000 runs: a count of n is right to ±3√n" in (sample.note(grown) or "")


def test_what_is_drawn_or_told_of_a_sample_says_so():
    depth = frames.frame([{"at": "2026-01-01T00:00Z", "queue": "q", "depth": 1, "running": 1}], QUEUE_DEPTH)
    assert fx.plot.queue_depth(depth).layout.title.subtitle.text is None
    depth.attrs["sampled"] = {"note": "estimated from 5% of about 1,000,000 runs"}

    assert "estimated from 5%" in fx.plot.queue_depth(depth).layout.title.subtitle.text
    assert "Times and storms are estimated from 5%" in str(fx.tell(frames.noted(made([]), depth)))


@pytest.mark.parametrize("statement", [statements.TREND, statements.QUEUE_DEPTH, *statements.LATENCY.values()])
def test_a_sampled_statement_takes_its_runs_from_the_sample_alone(statement: str):
    assert window.sampled(statement).count("TABLESAMPLE") == 1
    assert window.sampled(statement) != statement

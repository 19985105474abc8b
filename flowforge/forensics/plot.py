"""Figures of what happened (plotly), each titled with the question that it answers.

They are drawn from the frames of the other functions, so what is seen can be counted. The colours are those of Okabe
and Ito; what differs by colour differs in its words too. Invariant: no text of a run becomes markup of a figure.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from flowforge.forensics import frames
from flowforge.forensics.bars import bars
from flowforge.forensics.phases import critical_steps
from flowforge.forensics.sample import note
from flowforge.forensics.source import Reference, Source, current
from flowforge.model.card import COLOURS, WORDS, span

BLUE, ORANGE, GREEN, RED, YELLOW, SKY, PINK, GREY = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#D55E00",
    "#F0E442",
    "#56B4E9",
    "#CC79A7",
    "#999999",
)
#: One after the other where there is no meaning in a colour.
CYCLE = (BLUE, ORANGE, GREEN, PINK, SKY, RED, GREY, YELLOW)
#: Rows of a figure; more are left to the frame.
MOST = 40


def gantt(run: Reference, *, source: Source | None = None) -> go.Figure:
    """Draw what each step of a run did over time; steps on the critical path are marked."""
    chosen = source or current()
    case = chosen.case(run)
    found, critical = bars(case), critical_steps(case)
    begin = min((bar.begin for bar in found), default=case.seen_at)
    figure = _figure("Which step took the time, and what was it waiting for?", "seconds since the run was ready")
    for phase, colour in COLOURS.items():
        some = [bar for bar in found if bar.phase == phase]
        if not some:
            continue
        lengths = [(bar.end - bar.begin).total_seconds() for bar in some]
        figure.add_bar(
            orientation="h",
            name=WORDS[phase],
            y=[_marked(bar.step, critical) for bar in some],
            base=[(bar.begin - begin).total_seconds() for bar in some],
            x=lengths,
            marker={"color": colour, "line": {"color": "#444444", "width": 0.5}},
            hovertext=[
                f"attempt {bar.attempt}: {WORDS[phase]} {span(took)}" for bar, took in zip(some, lengths, strict=True)
            ],
            hoverinfo="y+text",
        )
    order = [_marked(step, critical) for step in dict.fromkeys(bar.step for bar in found)]
    figure.update_layout(barmode="overlay", height=_height(len(order)), bargap=0.35)
    figure.update_yaxes(categoryorder="array", categoryarray=order[::-1])
    if critical:
        _note(figure, "* on the critical path: the end of the run was waiting for it")
    return figure


def retry_storm(storms: pd.DataFrame) -> go.Figure:
    """Draw attempts over time against those that were meant (`fx.retry_storms`)."""
    figure = _figure("How much more was asked than was meant?", "attempts")
    by_time = storms.groupby("at", as_index=False)[["first_attempts", "retries"]].sum()
    for name, words, colour in (("first_attempts", "first attempts", BLUE), ("retries", "retries", RED)):
        figure.add_bar(x=by_time["at"], y=by_time[name].astype("float64"), name=words, marker_color=colour)
    figure.update_layout(barmode="stack", xaxis_title=None, yaxis_title="attempts begun")
    if len(storms):
        worst = storms.sort_values("amplification").iloc[-1]
        where = f"{worst['workflow']}/{worst['step']}"
        _note(figure, f"worst: {where}, {worst['amplification']:.1f} attempts for each that was meant")
    return _or_empty(figure, storms, "nothing was retried")


def latency(latencies: pd.DataFrame) -> go.Figure:
    """Draw percentiles by step: waiting for a worker beside executing (`fx.latency`)."""
    figure = _figure("Is the time spent waiting for a worker, or working?", "seconds")
    some = latencies.head(MOST).iloc[::-1]
    names = [_name(row) for row in some.to_dict("records")]
    quantiles = [name.removeprefix("exec_").removesuffix("_s") for name in map(str, some) if name.startswith("exec_p")]
    shades = {"queue": (GREY, "#BBBBBB", "#DDDDDD"), "exec": (BLUE, SKY, "#A6D8F5")}
    for part, words in (("queue", "waiting for a worker"), ("exec", "executing")):
        for place, quantile in enumerate(quantiles):
            figure.add_bar(
                orientation="h",
                y=names,
                x=some[f"{part}_{quantile}_s"],
                name=f"{words}, {quantile.replace('_', '.')}",
                marker_color=shades[part][min(place, 2)],
            )
    figure.update_layout(barmode="group", height=_height(2 * len(names)))
    return _or_empty(figure, latencies, "nothing was executed")


def trend(trends: pd.DataFrame) -> go.Figure:
    """Draw how long steps took over the window (`fx.trend`)."""
    figure = _figure("Did a step become slow, and when?", "seconds")
    for place, ((workflow, step), some) in enumerate(frames.groups(trends, "workflow", "step")):
        figure.add_scatter(
            x=some["since"],
            y=some["exec_p50_s"],
            mode="lines+markers",
            name=_text(f"{workflow}/{step}"),
            line={"color": CYCLE[place % len(CYCLE)]},
            marker={"symbol": place % 8},
        )
    figure.update_layout(xaxis_title=None, yaxis_title="seconds executing, median")
    return _or_empty(figure, trends, "nothing was executed")


def errors(clusters: pd.DataFrame) -> go.Figure:
    """Draw what failed how often (`fx.cluster_errors`)."""
    figure = _figure("What failed, and how often?", "failed attempts")
    some = clusters.head(MOST).iloc[::-1]
    names = [_text(_cut(f"{row['code']} at {row['steps']}: {row['text']}")) for row in some.to_dict("records")]
    again = (some["count"] - some["final"]).astype("float64")
    figure.add_bar(orientation="h", y=names, x=again, name="tried again", marker_color=ORANGE)
    figure.add_bar(orientation="h", y=names, x=some["final"].astype("float64"), name="for good", marker_color=RED)
    figure.update_layout(barmode="stack", height=_height(len(names)))
    return _or_empty(figure, clusters, "nothing failed")


def queue_depth(depth: pd.DataFrame) -> go.Figure:
    """Draw how many attempts waited and ran over time (`fx.queue_depth`)."""
    figure = _figure("Was there more to do than workers to do it?", "attempts")
    for place, (queue, some) in enumerate(frames.groups(depth, "queue")):
        colour = CYCLE[place % len(CYCLE)]
        for name, words, dash in (("depth", "waiting", "solid"), ("running", "executing", "dot")):
            figure.add_scatter(
                x=some["at"],
                y=some[name].astype("float64"),
                mode="lines+markers",
                line={"color": colour, "dash": dash, "shape": "hv"},
                name=_text(f"{queue}: {words}"),
            )
    figure.update_layout(xaxis_title=None, yaxis_title="attempts at the end of the bucket")
    return _or_empty(figure, depth, "nothing was queued")


def compare(compared: pd.DataFrame) -> go.Figure:
    """Draw two runs beside each other, step by step (`fx.compare`)."""
    figure = _figure("Where do the two runs part?", "seconds, all attempts together")
    some = compared.head(MOST).iloc[::-1]
    names = [_text(step) for step in some["step"]]
    for side, colour, pattern in (("good", GREEN, ""), ("bad", RED, "/")):
        for part, opacity in (("queue", 0.45), ("exec", 1.0)):
            figure.add_bar(
                orientation="h",
                y=names,
                x=some[f"{side}_{part}_s"],
                name=f"{side}: {'waiting' if part == 'queue' else 'executing'}",
                offsetgroup=side,
                base=some[f"{side}_queue_s"] if part == "exec" else None,
                marker={"color": colour, "opacity": opacity, "pattern": {"shape": pattern}},
            )
    figure.update_layout(barmode="group", height=_height(2 * len(names)))
    return _or_empty(figure, compared, "the runs have no steps")


def duplicates(found: pd.DataFrame) -> go.Figure:
    """Draw how many effects happened, or may have happened, twice (`fx.duplicates`)."""
    figure = _figure("Which effects happened twice?", "idempotency keys")
    for verdict, words, colour in (
        ("duplicate", "happened twice", RED),
        ("possible", "may have happened twice", ORANGE),
        ("single", "tried again, happened once", GREEN),
    ):
        some = found[found["verdict"] == verdict]
        counts = some.groupby(["workflow", "step"]).size()
        if len(counts):
            names = [_text(f"{workflow}/{step}") for workflow, step in counts.index]
            figure.add_bar(orientation="h", y=names, x=counts.to_numpy(), name=words, marker_color=colour)
    figure.update_layout(barmode="stack", height=_height(found["step"].nunique()))
    return _or_empty(figure, found, "no effect was tried more than once with an unknown end")


def _figure(question: str, axis: str) -> go.Figure:
    figure = go.Figure()
    figure.update_layout(
        title={"text": question, "x": 0, "xanchor": "left"},
        template="plotly_white",
        colorway=list(CYCLE),
        xaxis_title=axis,
        height=380,
        showlegend=True,
        margin={"l": 10, "r": 10, "t": 75, "b": 45},
        font={"size": 13},
    )
    figure.update_yaxes(automargin=True)
    figure.update_xaxes(automargin=True)
    return figure


def _or_empty(figure: go.Figure, frame: pd.DataFrame, words: str) -> go.Figure:
    if frame.empty:
        _note(figure, words, middle=True)
    estimated = note(frame)
    if estimated is not None:
        figure.update_layout(title_subtitle={"text": _text(estimated), "font": {"size": 11, "color": "#555555"}})
    return figure


def _note(figure: go.Figure, words: str, *, middle: bool = False) -> None:
    place = {"x": 0.5, "y": 0.5} if middle else {"x": 0, "y": 1.08, "xanchor": "left"}
    figure.add_annotation(
        text=_text(words), showarrow=False, xref="paper", yref="paper", font={"color": "#555555"}, **place
    )


def _height(rows: int) -> int:
    return 190 + 26 * max(min(rows, 3 * MOST), 1)


def _marked(step: str, critical: Iterable[str]) -> str:
    return _text(f"{step} *" if step in set(critical) else step)


def _name(row: dict[Any, Any]) -> str:
    parts = [str(row[part]) for part in ("workflow", "step", "worker") if isinstance(row[part], str)]
    version = "" if pd.isna(row["version"]) else f"@{row['version']}"
    return _text(_cut("/".join([parts[0] + version, *parts[1:]])))


def _cut(text: str, most: int = 70) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _text(value: object) -> str:
    """Return text as text: plotly reads some markup in what it draws, and formulas between dollars."""
    return escape(frames.plain(str(value)), quote=False).replace("$", "&#36;")

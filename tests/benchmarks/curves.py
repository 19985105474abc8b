"""The scaling curves as pictures: how throughput changes with the size of runs, with history, and with workers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.results import Curve


@dataclass(frozen=True, slots=True)
class Picture:
    """How one picture is labelled."""

    title: str
    across: str
    up: str
    #: Sizes that go over powers of ten.
    logarithmic: bool = False


PICTURES = {
    "size": Picture(
        "Steps a second against the size of a run\n(the same number of steps in all, and ready at a time)",
        "steps of a run",
        "steps/s",
        logarithmic=True,
    ),
    "history": Picture("Throughput against history: linear:3", "finished runs in the database", "runs/s"),
    "workers": Picture("Throughput against worker processes: linear:3", "worker processes", "runs/s"),
}


def draw(curves: Sequence[Curve], folder: Path, note: str) -> list[Path]:
    """Write one PNG for each picture that has a curve; without matplotlib there are none."""
    try:
        import matplotlib as mpl
    except ImportError:
        return []
    mpl.use("Agg")
    chosen = {name: [curve for curve in curves if curve.picture == name] for name in PICTURES}
    return [_draw(PICTURES[name], found, folder / f"{name}.png", note) for name, found in chosen.items() if found]


def _draw(picture: Picture, curves: Sequence[Curve], path: Path, note: str) -> Path:
    from matplotlib import pyplot as plt
    from matplotlib.ticker import FuncFormatter

    figure, axes = plt.subplots(figsize=(8, 5), dpi=150)
    for curve in curves:
        xs, ys = zip(*curve.points, strict=True)
        axes.plot(xs, ys, marker="o", linewidth=2, label=curve.label)
        for x, y in curve.points:
            axes.annotate(f"{y:,.0f}", (x, y), textcoords="offset points", xytext=(0, 7), ha="center", fontsize=8)
    if picture.logarithmic:
        axes.set_xscale("log")
    else:
        axes.set_xticks([x for x, _ in curves[0].points])
    commas = FuncFormatter(lambda value, _: f"{value:,.0f}")
    axes.xaxis.set_major_formatter(commas)
    axes.yaxis.set_major_formatter(commas)
    axes.margins(x=0.08)
    axes.set_ylim(0, 1.15 * max(y for curve in curves for _, y in curve.points))
    axes.set(title=picture.title, xlabel=picture.across, ylabel=picture.up)
    axes.grid(alpha=0.3)
    if len(curves) > 1:
        axes.legend(loc="lower right")
    figure.text(0.01, 0.01, note, fontsize=7, color="dimgray")
    figure.tight_layout(rect=(0, 0.03, 1, 1))
    figure.savefig(path)
    plt.close(figure)
    return path

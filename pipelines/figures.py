"""The pictures of a retrain: pure functions from numbers to figures, without any global state of matplotlib."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

# Okabe and Ito's palette, safe for every kind of colour vision; the shapes say it a second time.
LOOKS: dict[str, tuple[str, str, str]] = {  # model: (label, colour, marker)
    "two_tower": ("two-tower", "#0072B2", "o"),
    "als": ("ALS", "#D55E00", "s"),
    "itemknn": ("item-item", "#009E73", "^"),
    "ease": ("EASE", "#E69F00", "v"),
    "popularity": ("popularity", "#7A7A7A", "X"),
    "champion": ("champion", "#CC79A7", "D"),
}
INK, FAINT = "#222222", "#D9D9D9"
# Most popular items first: up to which share of the catalogue each segment of the exposure figure reaches.
SEGMENTS = ((0.01, "top 1 %"), (0.1, "next 9 %"), (0.5, "next 40 %"), (1.0, "last 50 %"))
SHADES = (("#08306B", "white"), ("#2E7EBC", "white"), ("#94C4DF", INK), ("#E3EEF8", INK))


def look(model: str) -> tuple[str, str, str]:
    """Label, colour and marker of a model; models without a look of their own are black and named as they are."""
    return LOOKS.get(model, (model, "#000000", "v"))


def _tidy(axes: Axes, title: str) -> None:
    axes.set_title(title, loc="left", fontsize=11, color=INK, pad=10)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(FAINT)
    axes.tick_params(colors=INK, labelsize=9, length=0)


def learning_curve(curves: Sequence[Mapping[str, float]], best_epoch: int) -> Figure:
    """Loss and validation recall by epoch, the kept epoch marked.

    Args:
        curves: one mapping an epoch: "epoch", "loss" and "valid_recall@10".
        best_epoch: the epoch whose weights were exported.
    """
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    epochs = [point["epoch"] for point in curves]
    panels: Sequence[Axes] = figure.subplots(1, 2)
    for axes, name, title in zip(
        panels, ("loss", "valid_recall@10"), ("Training loss", "Recall@10 on the validation window"), strict=True
    ):
        _tidy(axes, title)
        axes.plot(epochs, [point[name] for point in curves], color=LOOKS["two_tower"][1], marker="o", markersize=3.5)
        axes.set_xlabel("epoch", fontsize=9, color=INK)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.grid(axis="y", color=FAINT, linewidth=0.6)
        axes.margins(y=0.18)
    kept = next(point for point in curves if point["epoch"] == best_epoch)
    recall = kept["valid_recall@10"]
    panels[1].plot([best_epoch], [recall], "o", markersize=10, markerfacecolor="none", color=INK)
    is_late = best_epoch > (min(epochs) + max(epochs)) / 2
    panels[1].annotate(
        f"kept: epoch {best_epoch}, {recall:.4f}", (best_epoch, recall), xytext=(-10 if is_late else 10, 9),
        textcoords="offset points", ha="right" if is_late else "left", fontsize=9, color=INK,
    )
    return figure


def slice_recall(slices: Mapping[str, Mapping[str, Mapping[str, float]]]) -> Figure:
    """Recall@10 of every model in every slice of the test events.

    Args:
        slices: model -> slice -> {"events", "recall@10"}; the slices are those of the first model.
    """
    models, names = list(slices), list(next(iter(slices.values())))
    figure = Figure(figsize=(9, 1.5 + 0.46 * len(names)), layout="constrained")
    axes = figure.subplots()
    _tidy(axes, "Recall@10 by slice of the test events")
    rows = np.arange(len(names))[::-1]
    values = {model: [slices[model].get(name, {}).get("recall@10", np.nan) for name in names] for model in models}
    for row in rows:
        axes.axhspan(row - 0.32, row + 0.32, color="#F4F4F4", linewidth=0, zorder=0)
    # Models stand a little below one another, so that equal values do not hide each other.
    for model, shift in zip(models, np.linspace(0.24, -0.24, len(models)), strict=True):
        label, colour, marker = look(model)
        axes.plot(values[model], rows + shift, marker, color=colour, label=label, zorder=3, clip_on=False,
                  markeredgecolor="white", markeredgewidth=0.6, markersize=9 if model == "two_tower" else 7)
    events = [int(slices[models[0]][name]["events"]) for name in names]
    axes.set_yticks(rows, [f"{name.replace('_', ' ')}  ({n:,})" for name, n in zip(names, events, strict=True)])
    axes.tick_params(axis="y", pad=9)  # room for markers at zero
    axes.set_ylim(-0.6, len(names) - 0.4)
    axes.set_xlim(left=0)
    axes.set_xlabel("recall@10 (in brackets: test events of the slice)", fontsize=9, color=INK)
    axes.grid(axis="x", color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    figure.legend(loc="outside upper right", ncols=len(models), frameon=False, fontsize=9, handletextpad=0.2)
    return figure


def segment_shares(counts: npt.NDArray[np.int64], popularity: npt.NDArray[np.int64]) -> list[float]:
    """Share of `counts` [items] in each of SEGMENTS, items ordered by `popularity` [items], ties by row.

    Every segment ends after a whole item, rounded up, so that even a small catalogue has a top.
    """
    order = np.argsort(-popularity, kind="stable")
    ends = [int(np.ceil(share * len(order))) for share, _ in SEGMENTS]
    below = np.concatenate([[0], np.cumsum(counts[order])])[[0, *ends]]
    return [float(part) for part in np.diff(below) / max(int(counts.sum()), 1)]


def exposure(popularity: npt.NDArray[np.int64], shown: Mapping[str, npt.NDArray[np.int64]]) -> Figure:
    """Who gets seen: the share of places that each model gives to popular and to rare items.

    Args:
        popularity: [items] positive events in training, also drawn as the first bar.
        shown: model -> [items] times that the item stood in a test recommendation.
    """
    bars = {"purchases": popularity, **shown}
    figure = Figure(figsize=(9, 1.3 + 0.5 * len(bars)), layout="constrained")
    axes = figure.subplots()
    _tidy(axes, "Who gets seen: recommendations by popularity of the item")
    rows = np.arange(len(bars))[::-1]
    lefts = np.zeros(len(bars))
    shares = np.array([segment_shares(counts, popularity) for counts in bars.values()])  # [bars, segments]
    for (_, name), (shade, ink), widths in zip(SEGMENTS, SHADES, shares.T, strict=True):
        axes.barh(rows, widths, left=lefts, height=0.72, color=shade, edgecolor="white", label=f"{name} of items")
        for row, left, width in zip(rows, lefts, widths, strict=True):
            if width >= 0.04:  # a narrower segment has no room for its number
                axes.text(left + width / 2, row, f"{100 * width:.0f} %", ha="center", va="center",
                          fontsize=9, color=ink)
        lefts = lefts + widths
    axes.set_yticks(rows, ["training events", *(look(model)[0] for model in shown)])
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
    axes.set_xlabel("share of recommended places (first bar: share of training events)", fontsize=9, color=INK)
    figure.legend(loc="outside upper right", ncols=len(SEGMENTS), frameon=False, fontsize=9,
                  handlelength=1, columnspacing=1)
    return figure


def recall_over_time(points: Sequence[tuple[datetime, Mapping[str, float]]]) -> Figure:
    """Recall@10 of every model, retrained as of each moment.

    Args:
        points: in order of time: the moment, and model -> recall@10. A model may be missing at some of them.
    """
    figure = Figure(figsize=(9, 3.8), layout="constrained")
    axes = figure.subplots()
    _tidy(axes, "Recall@10 as of each day, on the events that followed")
    models = list(dict.fromkeys(model for _, found in points for model in found))
    for model in models:
        label, colour, marker = look(model)
        axes.plot([date2num(moment) for moment, _ in points], [found.get(model, np.nan) for _, found in points],
                  color=colour, marker=marker, label=label, markersize=6 if model == "two_tower" else 4.5,
                  linewidth=2 if model == "two_tower" else 1.2)
    locator = AutoDateLocator(minticks=1, maxticks=8)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    axes.set_ylim(bottom=0)
    axes.grid(axis="y", color=FAINT, linewidth=0.6)
    figure.legend(loc="outside upper right", ncols=len(models), frameon=False, fontsize=9, handletextpad=0.4)
    return figure


def save(figure: Figure, path: Path) -> None:
    """Write a PNG that is the same, byte for byte, whenever the numbers are."""
    path.parent.mkdir(parents=True, exist_ok=True)
    metadata: dict[str, Any] = {"Software": None}
    figure.savefig(path, dpi=150, facecolor="white", metadata=metadata)

"""A search as one self-contained page: parallel coordinates and a table, nothing from anywhere else.

Parallel coordinates after Inselberg, "The plane with parallel coordinates" (The Visual Computer 1985): an upright
axis a setting, a line a trial.
"""

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from pipelines.page import page

_LEFT, _TOP, _STEP, _HEIGHT = 60, 40, 130, 300  # pixels
_BEST, _OTHER, _PRUNED = "#b08d3c", "#5b6b7b", "#d8d3ca"


def tune_page(
    study: str, trials: Sequence[Mapping[str, Any]], best: int, logarithmic: Sequence[str] = ()
) -> str:
    """HTML of a search.

    Args:
        study: its name.
        trials: of each "number", "state", "settings" (name -> number) and "valid_recall@10"; the latter of a
            pruned trial is its best so far, and None where no epoch ended.
        best: number of the best trial.
        logarithmic: settings whose axis is logarithmic.
    """
    names = list(trials[0]["settings"])
    header = "".join(f"<th>{escape(name)}</th>" for name in ("trial", "state", *names, "valid recall@10"))
    order = sorted(trials, key=lambda t: (t["state"] == "complete", t["valid_recall@10"] or 0.0), reverse=True)
    ended = sum(trial["state"] == "complete" for trial in trials)
    return page(f"Search {study}", f"""<p class="quiet">
{len(trials)} trials, {ended} of them to their end; the best is trial {best}. Validation recall@10 of one member: what
the search chose by, so a little flattering. The test events were not looked at.</p>
<h2>Settings and what became of them</h2>
{_lines(trials, names, best, logarithmic)}
<h2>Trials</h2>
<table><tr>{header}</tr>
{"".join(_row(trial, names, best) for trial in order)}</table>""")


def _row(trial: Mapping[str, Any], names: Sequence[str], best: int) -> str:
    recall = trial["valid_recall@10"]
    cells = [trial["number"], trial["state"], *(trial["settings"][name] for name in names),
             "&ndash;" if recall is None else f"{recall:.4f}"]
    style = ' class="best"' if trial["number"] == best else ""
    return f"<tr{style}>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>\n"


def _lines(
    trials: Sequence[Mapping[str, Any]], names: Sequence[str], best: int, logarithmic: Sequence[str]
) -> str:
    """One axis a setting and one for the recall, one line a trial; pruned ones pale, the best on top."""
    measure = "valid recall@10"
    drawn = [({**trial["settings"], measure: trial["valid_recall@10"]}, trial) for trial in trials
             if trial["valid_recall@10"] is not None]
    axes = [*names, measure]
    ranges = {name: (min(v[name] for v, _ in drawn), max(v[name] for v, _ in drawn)) for name in axes}

    def height(name: str, value: float) -> float:
        low, high = ranges[name]
        if low == high:
            return _TOP + _HEIGHT / 2
        if name in logarithmic:
            low, high, value = math.log(low), math.log(high), math.log(value)
        return float(_TOP + _HEIGHT * (1 - (value - low) / (high - low)))

    def line(values: Mapping[str, float], trial: Mapping[str, Any]) -> str:
        is_best, is_pruned = trial["number"] == best, trial["state"] != "complete"
        points = " ".join(f"{_LEFT + _STEP * n},{height(name, values[name]):.1f}" for n, name in enumerate(axes))
        told = ", ".join(f"{name} {value:.4g}" for name, value in values.items())
        return (f'<polyline points="{points}" stroke="{_BEST if is_best else _PRUNED if is_pruned else _OTHER}" '
                f'stroke-width="{4 if is_best else 1.5}" opacity="{1 if is_best else 0.7}">'
                f"<title>trial {trial['number']} ({escape(trial['state'])}): {escape(told)}</title></polyline>")

    drawn.sort(key=lambda pair: (pair[1]["number"] == best, pair[1]["state"] == "complete"))
    upright = "".join(
        f'<line x1="{x}" x2="{x}" y1="{_TOP}" y2="{_TOP + _HEIGHT}" stroke="#999"/>'
        f'<text x="{x}" y="{_TOP - 22}" text-anchor="middle">{escape(name)}</text>'
        f'<text x="{x}" y="{_TOP - 6}" text-anchor="middle">{ranges[name][1]:.4g}</text>'
        f'<text x="{x}" y="{_TOP + _HEIGHT + 16}" text-anchor="middle">{ranges[name][0]:.4g}</text>'
        for x, name in zip(range(_LEFT, _LEFT + _STEP * len(axes), _STEP), axes, strict=True)
    )
    width, total = 2 * _LEFT + _STEP * (len(axes) - 1), _TOP + _HEIGHT + 30
    return (f'<svg width="{width}" height="{total}" viewBox="0 0 {width} {total}" role="img">'
            f"{upright}{''.join(line(*pair) for pair in drawn)}</svg>")

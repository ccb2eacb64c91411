"""The gate's verdict as one self-contained page: no script, no font, no picture from anywhere else."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-weight: 600; margin-bottom: 0 } h2 { font-weight: 600; font-size: 1.1rem; margin-top: 2rem }
.accepted { color: #17663a } .refused { color: #a11d1d } .quiet { color: #666 }
table { border-collapse: collapse; width: 100% } th, td { text-align: left; padding: .35rem .6rem .35rem 0 }
tr { border-bottom: 1px solid #e4e1dc } td.number, th.number { text-align: right; font-variant-numeric: tabular-nums }
svg text { font: 13px system-ui, sans-serif; fill: #222 }
"""
_BAR, _GAP, _LABELS, _LENGTH = 22, 8, 110, 420  # pixels
_OURS, _OTHERS = "#b08d3c", "#c9c4bb"


def verdict_page(
    verdict: Mapping[str, Any], models: Mapping[str, Mapping[str, Any]], ours: str, metric: str
) -> str:
    """HTML of a verdict.

    Args:
        verdict: what verdict.json holds.
        models: metrics.json of the evaluate stage.
        ours: the challenger among them.
        metric: name of the figure to draw.
    """
    answer = "accepted" if verdict["accepted"] else "refused"
    failed = sum(not check["passed"] for check in verdict["checks"])
    against = f"release {verdict['parent']}" if verdict["parent"] is not None else "no incumbent"
    order = [ours, *(name for name in models if name != ours)]
    figures = [(name, models.get(name, {}).get("metrics", {}).get(metric)) for name in order]
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Bundle {escape(verdict["bundle"][:12])}: {answer}</title><style>{_STYLE}</style></head><body>
<h1 class="{answer}">Bundle {escape(verdict["bundle"][:12])} {answer}</h1>
<p class="quiet">{len(verdict["checks"]) - failed} of {len(verdict["checks"])} checks passed &middot;
data up to {escape(verdict["as_of"])} &middot; judged against {against}</p>
<h2>{escape(metric)} on the same events</h2>
{_bars([(name, float(value)) for name, value in figures if value is not None], ours)}
<h2>Checks</h2>
<table><tr><th></th><th>Check</th><th class="number">Value</th><th class="number">Threshold</th><th>Reason</th></tr>
{"".join(_row(check) for check in verdict["checks"])}</table>
</body></html>
"""


def _row(check: Mapping[str, Any]) -> str:
    mark, style = ("pass", "accepted") if check["passed"] else ("FAIL", "refused")
    return (f'<tr><td class="{style}">{mark}</td><td>{escape(check["name"])}</td>'
            f'<td class="number">{_text(check["value"])}</td><td class="number">{_text(check["threshold"])}</td>'
            f'<td>{escape(check["reason"])}</td></tr>\n')


def _text(value: float | None) -> str:
    if value is None:
        return "&ndash;"
    return f"{value:.4f}" if abs(value) >= 1e-3 or not value else f"{value:.1e}"


def _bars(figures: Sequence[tuple[str, float]], ours: str) -> str:
    """Horizontal bars of (name, value), `ours` in another colour."""
    largest = max((value for _, value in figures), default=0) or 1
    height = len(figures) * (_BAR + _GAP)
    bars = "".join(
        f'<text x="{_LABELS - 8}" y="{y + 16}" text-anchor="end">{escape(name)}</text>'
        f'<rect x="{_LABELS}" y="{y}" width="{max(_LENGTH * value / largest, 1):.1f}" height="{_BAR}" '
        f'fill="{_OURS if name == ours else _OTHERS}"/>'
        f'<text x="{_LABELS + _LENGTH * value / largest + 8:.1f}" y="{y + 16}">{value:.4f}</text>'
        for y, (name, value) in zip(range(0, height, _BAR + _GAP), figures, strict=True)
    )
    return f'<svg width="{_LABELS + _LENGTH + 90}" height="{height}" role="img">{bars}</svg>'

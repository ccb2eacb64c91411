"""The gate's verdict as one self-contained page: no script, no font, no picture from anywhere else.

Charts are rows of text with a strip of SVG each, whose places are percentages: a strip is as wide as there is room,
and nothing in it is stretched, from a phone to a wide screen.
"""

from collections.abc import Mapping
from html import escape
from typing import Any

from pipelines.evidence import CHALLENGER, CHAMPION, METRIC, K, Models
from pipelines.gate_rules import VALUE

_STYLE = """
:root { color-scheme: light dark; --paper: #fff; --ink: #1f1d1a; --quiet: #6d6860; --line: #e5e1d9; --ours: #a57f2c;
  --theirs: #b9b3a7; --good: #17663a; --bad: #a8231f; --wash: #f7f5f1 }
@media (prefers-color-scheme: dark) { :root { --paper: #161513; --ink: #ebe7df; --quiet: #a19b90; --line: #37342f;
  --ours: #dcb45c; --theirs: #6f695f; --good: #6cc08f; --bad: #f0857c; --wash: #201e1b } }
* { box-sizing: border-box } body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 56rem; margin: 0 auto; padding: 2rem 1rem 4rem; overflow-wrap: anywhere }
h1 { font-size: 1.6rem; font-weight: 650; line-height: 1.2; margin: 0 } p { margin: .4rem 0 }
h2 { font-size: 1.1rem; font-weight: 650; margin: 2.4rem 0 .2rem } h3 { font-size: .95rem; margin: 1.2rem 0 0 }
.accepted { color: var(--good) } .refused { color: var(--bad) } .quiet { color: var(--quiet); font-size: .88rem }
.why { border-left: 3px solid var(--bad); background: var(--wash); padding: .5rem .9rem; margin: 1rem 0 }
.row { display: grid; grid-template-columns: 12rem 1fr 12.5rem; gap: 0 .9rem; align-items: center; padding: .2rem 0;
  border-top: 1px solid var(--line) } .row > :last-child { text-align: right; font-variant-numeric: tabular-nums }
.row small { color: var(--quiet); font-size: .8rem }
svg { display: block; width: 100%; height: 22px; overflow: visible }
.ours { fill: var(--ours) } .theirs { fill: var(--theirs) } .lost { fill: var(--bad) } .unjudged { fill: var(--quiet) }
line { stroke: var(--ink); stroke-width: 1.5 } line.zero { stroke: var(--quiet); stroke-width: 1 }
line.allowed { stroke: var(--bad); stroke-width: 1.5; stroke-dasharray: 3 2 } line.lost { stroke: var(--bad) }
line.unjudged { stroke: var(--quiet) }
.check { border-top: 1px solid var(--line); padding: .45rem 0; display: grid; gap: 0 .9rem;
  grid-template-columns: 3.2rem 1fr 9.5rem } .check > :last-child { text-align: right }
.check p { margin: 0; font-size: .9rem } code { font: .88em ui-monospace, monospace }
details { margin-top: 2.4rem } pre { overflow-x: auto; background: var(--wash); padding: .8rem; font-size: .8rem }
@media (max-width: 40rem) { .row { grid-template-columns: 1fr auto; padding: .5rem 0 }
  .row svg { grid-column: 1 / -1; grid-row: 2 } .row.short { grid-template-columns: 4.5rem 1fr 6rem; padding: .2rem 0 }
  .row.short svg { grid-column: 2; grid-row: 1 } .check { grid-template-columns: 3.2rem 1fr }
  .check > :last-child { grid-column: 2; text-align: left } }
"""
_FULL = 92.0  # per cent of a strip that the largest bar takes: room for the interval's end


def verdict_page(verdict: Mapping[str, Any], models: Models) -> str:
    """HTML of a verdict.

    Args:
        verdict: what verdict.json holds.
        models: metrics.json of the evaluate stage.
    """
    answer = "accepted" if verdict["accepted"] else "refused"
    checks = verdict["checks"]
    failed = [check for check in checks if not check["passed"]]
    against = f"release {verdict['parent']}" if verdict["parent"] is not None else "no incumbent"
    why = "".join(f"<p><b>{escape(check['name'])}</b> {escape(check['reason'])}</p>" for check in failed)
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Bundle {escape(verdict["bundle"][:12])}: {answer}</title><style>{_STYLE}</style></head><body>
<h1>Bundle <code>{escape(verdict["bundle"][:12])}</code> <span class="{answer}">{answer}</span></h1>
<p class="quiet">{len(checks) - len(failed)} of {len(checks)} checks passed &middot; data up to
{escape(verdict["as_of"][:16].replace("T", " "))} UTC &middot; judged against {against}</p>
{f'<div class="why">{why}</div>' if failed else ""}
{_models(models)}
{_slices(verdict)}
{_lists(verdict)}
<h2>Checks</h2>
{"".join(_check(check) for check in sorted(checks, key=lambda check: check["passed"]))}
<details><summary>Settings of this verdict</summary><pre>{_settings(verdict["settings"])}</pre></details>
</body></html>
"""


def _models(models: Models) -> str:
    """Bars of METRIC, the challenger's first, with their 95 % intervals."""
    order = [CHALLENGER, CHAMPION, *sorted(models, key=lambda n: -(models[n].get("metrics", {}).get(METRIC) or 0))]
    figures = [(name, models[name].get("metrics", {}).get(METRIC), models[name].get("intervals", {}).get(METRIC))
               for name in dict.fromkeys(order) if name in models]
    known = [(name, float(value), bounds) for name, value, bounds in figures if value is not None]
    most = max((max(value, bounds[1] if bounds else value) for _, value, bounds in known), default=0) or 1
    rows = []
    for name, value, bounds in known:
        kind = "ours" if name == CHALLENGER else "theirs"
        strip = f'<rect class="{kind}" y="3" height="16" width="{_FULL * value / most:.2f}%"/>'
        text = f"{value:.4f}"
        if bounds:
            low, high = (_FULL * bound / most for bound in bounds)
            strip += _whisker(low, high)
            text += f" <small>{bounds[0]:.4f}&ndash;{bounds[1]:.4f}</small>"
        rows.append(_row(escape(name.replace("_", "-")), strip, text))
    return (f"<h2>{METRIC} on the same events</h2><p class=quiet>With 95 % intervals over resampled shoppers; beside "
            f"the champion the paired difference below decides, not these intervals.</p>{''.join(rows)}")


def _slices(verdict: Mapping[str, Any]) -> str:
    """Differences from the champion over all and by slice; from popularity where there is no champion."""
    models = {row["against"] for row in verdict["comparisons"]}
    against = CHAMPION if CHAMPION in models else "popularity"
    rows = [row for row in verdict["comparisons"] if row["against"] == against]
    if not rows:
        return ""
    failed = {check["name"] for check in verdict["checks"] if not check["passed"]}
    ends = [end for row in rows for end in (row["low"], row["high"], row["ours"] - row["theirs"],
                                            -row["tolerance"] * row["theirs"]) if end is not None]
    low, high = min(*ends, 0.0), max(*ends, 0.0)
    span = (high - low) or 1.0
    low, span = low - 0.04 * span, 1.08 * span
    drawn, group = "", ""
    for row in sorted(rows, key=lambda row: (row["part"] != "all", VALUE in row["part"])):
        column, is_value, value = row["part"].partition(VALUE)
        if is_value and column != group:
            drawn, group = drawn + f"<h3>{escape(column.replace('.', ': ', 1))}</h3>", column
        drawn += _difference(row, value or column.replace("_", " "), against, failed, (low, span))
    return (f"<h2>Challenger minus {against}, by slice</h2><p class=quiet>Difference in {METRIC}, right of the line is "
            "better. The band over all events holds with 95 % confidence; those of slices hold all at once. The dashed "
            f"mark is what may be lost{'' if against == CHAMPION else ', were this a champion'}. Pale: too few "
            f"shoppers to judge.</p>{drawn}")


def _difference(
    row: Mapping[str, Any], label: str, against: str, failed: set[str], scale: tuple[float, float]
) -> str:
    """A row of the differences; `scale` is the strip's left end and its width."""
    def at(value: float) -> float:
        return 100 * (value - scale[0]) / scale[1]

    check = f"{METRIC}_vs_{against}" if row["part"] == "all" else f"slice_{row['part']}_vs_{against}"
    kind = "unjudged" if row["low"] is None else "lost" if check in failed else "ours"
    allowed = at(-row["tolerance"] * row["theirs"])
    strip = (f'<line class="zero" x1="{at(0):.2f}%" x2="{at(0):.2f}%" y1="0" y2="22"/>'
             f'<line class="allowed" x1="{allowed:.2f}%" x2="{allowed:.2f}%" y1="2" y2="20"/>')
    if row["low"] is not None:
        strip += _whisker(at(row["low"]), at(row["high"]), kind)
    strip += f'<circle class="{kind}" cx="{at(row["ours"] - row["theirs"]):.2f}%" cy="11" r="5"/>'
    text = f"{row['ours']:.4f} <small>from {row['theirs']:.4f}</small>"
    name = "all events" if row["part"] == "all" else label
    return _row(f"{escape(name)} <small>{row['events']:,}</small>", strip, text)


def _lists(verdict: Mapping[str, Any]) -> str:
    """How much shoppers' lists change: on the evaluated questions, and on the last day's requests."""
    found = ""
    replayed = verdict["replay"]
    for title, counts, note in (
        ("Shoppers by items shared with the champion's list", verdict["by_shared_items"],
         f"Of the first {K} at each shopper's last evaluated question."),
        ("Replay of the last day", replayed and replayed["by_overlap"], _told(replayed)),
    ):
        if not counts:
            continue
        most = max(*counts, 1)
        bar = '<rect class="theirs" y="5" height="12" width="{:.2f}%"/>'
        shares = [f"{n:,} <small>{n / max(sum(counts), 1):.1%}</small>" for n in counts]
        rows = [_row(f"{shared} of {K}", bar.format(_FULL * n / most), share, "row short")
                for shared, (n, share) in enumerate(zip(counts, shares, strict=True))]
        found += f"<h2>{title}</h2><p class=quiet>{note}</p>{''.join(rows)}"
    return found


def _told(replayed: Mapping[str, Any] | None) -> str:
    if replayed is None:
        return ""
    return (f"{replayed['requests']:,} requests to both bundles, as evidence that does not decide: "
            f"overlap@{K} {replayed['overlap']:.3f}, the same first item in {replayed['same_first']:.1%}, the very "
            f"same list in {replayed['unchanged']:.1%}. {replayed['new_items']:,} items are shown by the challenger "
            f"alone, {replayed['gone_items']:,} by the champion alone. Requests by shared items:")


def _whisker(low: float, high: float, kind: str = "") -> str:
    ends = "".join(f'<line class="{kind}" x1="{x:.2f}%" x2="{x:.2f}%" y1="7" y2="15"/>' for x in (low, high))
    return f'<line class="{kind}" x1="{low:.2f}%" x2="{high:.2f}%" y1="11" y2="11"/>{ends}'


def _row(label: str, strip: str, text: str, style: str = "row") -> str:
    """A row of a chart; `label` and `text` are HTML."""
    return f'<div class="{style}"><div>{label}</div><svg aria-hidden="true">{strip}</svg><div>{text}</div></div>\n'


def _check(check: Mapping[str, Any]) -> str:
    mark, style = ("pass", "accepted") if check["passed"] else ("FAIL", "refused")
    rule = f' <span class="quiet">{escape(check["rule"])}</span>' if check["rule"] else ""
    return (f'<div class="check"><div class="{style}">{mark}</div><div><b>{escape(check["name"])}</b>{rule}'
            f'<p>{escape(check["reason"])}</p></div><div class="quiet">{_text(check["value"])} / '
            f'{_text(check["threshold"])}</div></div>\n')


def _settings(settings: Mapping[str, Any]) -> str:
    return escape("\n".join(f"{name} = {value}" for name, value in sorted(settings.items())))


def _text(value: float | None) -> str:
    if value is None:
        return "&ndash;"
    return f"{value:.4f}" if abs(value) >= 1e-3 or not value else f"{value:.1e}"

"""The evidence that a person decides by, as Markdown: figures beside the live release, and lists side by side."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from pipelines.artifacts import read_json
from pipelines.columns import ITEM
from pipelines.contracts import Verdict
from pipelines.evidence import CHAMPION, METRIC
from pipelines.gate_rules import VALUE
from pipelines.releases.asking import ask, items_of
from pipelines.releases.opening import open_store
from pipelines.settings import Settings
from serving.panel import Panel

SHOPPERS, PLACES, TRACE = 3, 10, 5  # lists shown, their length, and events of a history that are named
_SPECIAL = str.maketrans({sign: f"\\{sign}" for sign in r"\`*_{}[]<>()#+!|~"})


def evidence(verdict: Verdict, places: Settings, address: str = "") -> str:
    """Markdown of a verdict for whoever approves it.

    Args:
        verdict: of the gate.
        places: the serving store with the live bundle.
        address: of the challenger's run in MLflow; empty where it has no pages.

    Raises:
        BundleRefused: one of the bundles does not answer.
    """
    document = read_json(Path(verdict.path) / "verdict.json")
    checks, parent = document["checks"], document["parent"]
    against = "nothing is live yet" if parent is None else f"release {parent} is live"
    parts = [
        f"Bundle `{verdict.sealed.digest[:12]}`, data up to {document['as_of'][:16].replace('T', ' ')} UTC; {against}. "
        f"{sum(check['passed'] for check in checks)} of {len(checks)} checks passed.",
        "### In figures\n" + "\n".join(_figures(document["comparisons"])),
    ]
    replayed = document["replay"]
    if replayed:
        parts.append(f"Replay of {replayed['requests']:,} requests of the last day: {replayed['overlap']:.0%} of the "
                     f"first {PLACES} stay, the first item stays in {replayed['same_first']:.0%}; "
                     f"{replayed['new_items']:,} items are shown anew, {replayed['gone_items']:,} no more.")
    if document["champion"]:
        parts += _slates(verdict, document["champion"], places)
    if address:
        parts.append(f"[Verdict with charts]({address}/artifacts/verdict.html) · [Run in MLflow]({address})")
    return "\n\n".join(parts)


def _figures(comparisons: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Rows of METRIC: the challenger beside each model over all, then beside the champion by slice."""
    yield f"| {METRIC} | events | challenger | other | difference | 95 % interval | may lose |"
    yield "|---|--:|--:|--:|--:|--:|--:|"
    rows = [row for row in comparisons if row["part"] == "all"]
    rows += [row for row in comparisons if row["part"] != "all" and row["against"] == CHAMPION]
    for row in rows:
        part = f"all, beside {row['against']}" if row["part"] == "all" else row["part"].replace(VALUE, " ")
        interval = "too few" if row["low"] is None else f"{row['low']:+.4f} to {row['high']:+.4f}"
        yield (f"| {plain(part)} | {row['events']:,} | {row['ours']:.4f} | {row['theirs']:.4f} | "
               f"{row['ours'] - row['theirs']:+.4f} | {interval} | {row['tolerance'] * row['theirs']:.4f} |")


def _slates(verdict: Verdict, champion: str, places: Settings) -> list[str]:
    """The lists of a newcomer and of the panel's first shoppers, live beside new."""
    store = open_store(places)
    folders = store.bundle_path(champion), Path(verdict.sealed.path)
    known = set(items_of(folders[0])) & set(items_of(folders[1]))
    panel = Panel.load(folders[1]).without(store.erasures.read().hides).known_to(known)
    different = tuple(dict.fromkeys(panel.shoppers))  # in an order by content, of which some are taken evenly
    panel = panel.model_copy(update={"shoppers": different[:: max(1, len(different) // SHOPPERS)][:SHOPPERS]})
    live, new = (ask(folder, panel, PLACES) for folder in folders)
    traces = [(), *(shopper.items[-TRACE:] for shopper in panel.shoppers)]
    named = {item for line in (*live, *new, *traces) for item in line}
    names = _names(folders[0], named) | _names(folders[1], named)
    found = []
    for number, (before, after) in enumerate(zip(live, new, strict=True)):
        met = ", ".join(names[item] for item in traces[number])
        title = f"Shopper {number}: last met {met}" if number else "A newcomer"
        rows = [f"| {place} | {names[before[place - 1]] if place <= len(before) else ''} | "
                f"{names[after[place - 1]] if place <= len(after) else ''} |"
                for place in range(1, max(len(before), len(after)) + 1)]
        found.append(f"### {title}\n{len({*before} & {*after})} of {PLACES} stay.\n\n| | live | challenger |\n"
                     "|--:|---|---|\n" + "\n".join(rows))
    return found


def _names(bundle: Path, wanted: set[str]) -> dict[str, str]:
    """Id -> title of those wanted items that a bundle has, or the id where the shop has no titles; see `plain`."""
    title = read_json(bundle / "spec.json")["display"].get("title")
    table = pq.read_table(bundle / "items.parquet", columns=[ITEM, title or ITEM],
                          filters=[(ITEM, "in", sorted(wanted))])
    ids, titles = (table.column(name).to_pylist() for name in (ITEM, title or ITEM))
    return {str(item): plain(str(name or item)) for item, name in zip(ids, titles, strict=True)}


def plain(text: str) -> str:
    """Text of a shop so that Markdown shows it as it is, on one line."""
    return " ".join(text.split()).translate(_SPECIAL)

"""Releases as tables that people read. What people wrote is text, whatever brackets stand in it."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from serving.release import Refusal, Release
from serving.shelf import Stock

if TYPE_CHECKING:  # they bring Arrow along, which a page that lists releases does not need
    from pipelines.releases.collect import Fate
    from pipelines.releases.diff import Change, Diff, Value
    from pipelines.releases.verify import Finding

SHOWN = ("recall@10", "ndcg@10")


def megabytes(size: int) -> str:
    """Bytes as MB with one decimal."""
    return f"{size / 1e6:,.1f} MB"


def why(release: Release) -> str:
    """The reason of a release, with what it goes back to or refreshes."""
    before = {"promotion": "", "rollback": f"rollback to {release.restores}: ",
              "refresh": f"refresh of {release.refreshes}: "}[release.cause]
    return f"{before}{release.reason}{' (forced)' if release.is_forced else ''}"


def releases_table(releases: Sequence[Release], live: int | None, stock: Mapping[str, Stock]) -> Table:
    """One row a release, newest first."""
    table = Table("release", "when (UTC)", "who", "why", "model", "data up to", *SHOWN, "bundle", "size", "")
    for release in reversed(releases):
        held = stock.get(release.bundle)
        table.add_row(
            str(release.number), f"{release.created_at:%Y-%m-%d %H:%M:%S}", Text(release.actor),
            Text(why(release)), Text(f"{release.model_name} {release.model_version}"),
            f"{release.as_of:%Y-%m-%d %H:%M}", *(_text(release.metrics.get(name)) for name in SHOWN),
            release.bundle[:12], "removed" if held is None or not held.is_whole else megabytes(held.size),
            "[bold green]live[/]" if release.number == live else "")
    return table


def refusals_table(refusals: Sequence[Refusal]) -> Table:
    """One row a promotion that was not taken, newest first."""
    table = Table("when (UTC)", "who", "would be", "bundle", "error", "because", title="Refused")
    for one in reversed(refusals):
        table.add_row(f"{one.refused_at:%Y-%m-%d %H:%M:%S}", Text(one.release.actor), str(one.release.number),
                      one.release.bundle[:12], one.error, Text(one.message))
    return table


def diff_tables(found: "Diff") -> Iterable[Table]:
    """One table a part; parts in which nothing differs are left out."""
    for title, changes in (("Data", found.data), ("Features", found.features), ("Model", found.model),
                           ("Index", found.index), ("Metrics", found.metrics)):
        if changes:
            yield _changes(title, changes, found)
    items = _titled("Items", found)
    items.add_row("in", f"+{found.items.added:,}", Text(", ".join(found.items.added_examples)))
    items.add_row("out", f"-{found.items.removed:,}", Text(", ".join(found.items.removed_examples)))
    items.add_row("kept", f"{found.items.kept:,}", "")
    yield items
    churn = found.churn
    if churn is not None:
        table = Table(f"first {churn.k} of {churn.shoppers} shoppers", "", title="Churn")
        table.add_row("replaced on average", f"{churn.mean:.1%}")
        table.add_row("replaced at most", f"{churn.most:.1%}")
        table.add_row("lists of the same items", str(churn.unchanged))
        yield table


def findings_table(findings: "Sequence[Finding]") -> Table:
    """One row a question."""
    table = Table("release", "question", "answer", "evidence")
    for one in findings:
        answer = "[green]yes[/]" if one.passed else "[bold red]no[/]"
        table.add_row(str(one.release), one.name, answer, Text(one.detail))
    return table


def fates_table(fates: "Sequence[Fate]") -> Table:
    """One row a bundle."""
    table = Table("bundle", "size", "releases", "", "because it")
    for one in fates:
        table.add_row(one.bundle[:12], megabytes(one.size), ", ".join(map(str, one.releases)),
                      "stays" if one.is_kept else "[bold]goes[/]", Text(one.reason))
    return table


def _changes(title: str, changes: "Sequence[Change]", found: "Diff") -> Table:
    table = _titled(title, found)
    table.add_column("difference", justify="right")
    for change in changes:
        table.add_row(Text(change.name), Text(_text(change.before)), Text(_text(change.after)), _difference(change))
    return table


def _titled(title: str, found: "Diff") -> Table:
    return Table("", f"release {found.before}", f"release {found.after}", title=title, title_justify="left")


def _difference(change: "Change") -> str:
    if not (_is_number(change.before) and _is_number(change.after)):
        return "" if change.before == change.after else "*"
    gap = float(change.after or 0) - float(change.before or 0)
    return "" if gap == 0 else f"{gap:+,.4f}" if isinstance(change.after, float) else f"{gap:+,.0f}"


def _is_number(value: "Value") -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _text(value: "Value") -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4f}"
    return f"{value:,}" if _is_number(value) else str(value)

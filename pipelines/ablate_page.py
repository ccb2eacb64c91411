"""An ablation as one self-contained page: a line a variant, with its difference from the default."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from pipelines.page import page

_WIDTH, _HEIGHT, _EDGE = 260, 18, 6  # pixels of the picture of a difference
_WORSE, _BETTER, _UNSURE = "#a11d1d", "#17663a", "#5b6b7b"
COLUMNS = ("variant", "valid recall@10", "ndcg@10", "recall@10 of new items", "coverage@10", "difference", "low",
           "high", "epochs", "training, s")


@dataclass(frozen=True)
class Line:
    """A variant and what was measured on the validation questions.

    Attributes:
        name, about: which it is.
        recall, ndcg, coverage: at 10.
        new_items: recall@10 of items without a training event; None where no question has one.
        difference: recall@10 minus the default's, with its 95 % interval (mean, low, high); None for the default.
        epochs: of all members.
        seconds: of the training, without validation.
    """

    name: str
    about: str
    recall: float
    ndcg: float
    coverage: float
    new_items: float | None
    difference: tuple[float, float, float] | None
    epochs: int
    seconds: float

    def cells(self) -> list[str | float | None]:
        """Values in the order of COLUMNS."""
        return [self.name, self.recall, self.ndcg, self.new_items, self.coverage, *(self.difference or (None,) * 3),
                self.epochs, round(self.seconds, 1)]


def in_order(lines: Sequence[Line]) -> list[Line]:
    """The highest recall first; of equal ones the earlier."""
    return sorted(lines, key=lambda line: -line.recall)


def shown(value: str | float | None, is_signed: bool = False) -> str:
    """A cell as text: four digits for fractions, a dash for what there is none of."""
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:+.4f}" if is_signed else f"{value:.4f}"
    return str(value)


def row_texts(line: Line) -> list[str]:
    """A line's cells as text, for people: the interval is one cell."""
    name, recall, ndcg, new_items, coverage, mean, low, high, epochs, seconds = line.cells()
    interval = "–" if low is None else f"{shown(low, True)} to {shown(high, True)}"
    return [str(name), shown(recall), shown(ndcg), shown(new_items), shown(coverage), shown(mean, True), interval,
            str(epochs), f"{seconds:,.0f}"]


HEADER = (*COLUMNS[:6], "95 % interval", *COLUMNS[8:])


def ablate_page(name: str, answers: int, lines: Sequence[Line], left: int, failed: Mapping[str, str]) -> str:
    """HTML of an ablation.

    Args:
        name: of the ablation.
        answers: (question, item) pairs behind each figure.
        lines: of the variants that are measured, in any order; the default is among them.
        left: variants that are still to be trained.
        failed: name -> reason of those that could not be.
    """
    reach = max([abs(bound) for line in lines if line.difference for bound in line.difference], default=0.0) or 1.0
    header = "".join(f"<th>{escape(text)}</th>" for text in ("", "what", *HEADER[1:6], "", *HEADER[6:]))
    rows = "".join(_row(line, reach) for line in in_order(lines))
    waiting = f" {left} variants are still to be trained." if left else ""
    missing = "".join(f'<p class="quiet">Failed: {escape(which)}: {escape(why)}</p>' for which, why in failed.items())
    return page(f"Ablation {name}", f"""<p class="quiet">
{answers:,} validation answers, the same for all.{waiting} Each variant differs from the default in what its name
says and in nothing else, and is what a retrain with that setting would train. Differences are in recall@10; their
interval is over shoppers (paired, resampled by user) and knows nothing of random starts: see how far the variant of
another seed comes out. Validation chose the epochs, so all figures flatter a little. The test events were not looked
at.</p>
<table><tr>{header}</tr>
{rows}</table>
{missing}""")


def _row(line: Line, reach: float) -> str:
    name, *cells = row_texts(line)
    texts = [f"<td>{escape(name)}</td>", f'<td class="quiet">{escape(line.about)}</td>',
             *(f"<td>{escape(cell)}</td>" for cell in cells[:5]), f"<td>{_drawn(line.difference, reach)}</td>",
             *(f"<td>{escape(cell)}</td>" for cell in cells[5:])]
    style = "" if line.difference else ' class="best"'
    return f"<tr{style}>{''.join(texts)}</tr>\n"


def _drawn(difference: tuple[float, float, float] | None, reach: float) -> str:
    """The interval as a stroke and the mean as a dot, on an axis from -`reach` to `reach` with a line at 0."""
    middle = _HEIGHT / 2
    axis = f'<line x1="{_WIDTH / 2}" x2="{_WIDTH / 2}" y1="0" y2="{_HEIGHT}" stroke="#999"/>'
    if difference is None:
        return f'<svg width="{_WIDTH}" height="{_HEIGHT}">{axis}</svg>'
    at = [_WIDTH / 2 + value / reach * (_WIDTH / 2 - _EDGE) for value in difference]
    colour = _BETTER if difference[1] > 0 else _WORSE if difference[2] < 0 else _UNSURE
    return (f'<svg width="{_WIDTH}" height="{_HEIGHT}" role="img">{axis}'
            f'<line x1="{at[1]:.1f}" x2="{at[2]:.1f}" y1="{middle}" y2="{middle}" stroke="{colour}" stroke-width="2"/>'
            f'<circle cx="{at[0]:.1f}" cy="{middle}" r="4" fill="{colour}"/></svg>')

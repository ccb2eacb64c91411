"""The figures say what the numbers say, and do so in the same bytes each time."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from pipelines.figures import exposure, learning_curve, save, segment_shares, slice_recall

CURVES = [{"epoch": 1, "loss": 3.0, "valid_recall@10": 0.1}, {"epoch": 2, "loss": 2.0, "valid_recall@10": 0.4},
          {"epoch": 3, "loss": 1.5, "valid_recall@10": 0.3}]
SLICES = {"two_tower": {"all": {"events": 1200, "recall@10": 0.5}, "new_items": {"events": 3, "recall@10": 0.25}},
          "als": {"all": {"events": 1200, "recall@10": 0.5}}}


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def test_learning_curve_marks_the_kept_epoch() -> None:
    figure = learning_curve(CURVES, best_epoch=2)
    np.testing.assert_array_equal(figure.axes[0].lines[0].get_xydata(), [[1, 3.0], [2, 2.0], [3, 1.5]])
    np.testing.assert_array_equal(figure.axes[1].lines[0].get_xydata(), [[1, 0.1], [2, 0.4], [3, 0.3]])
    assert texts(figure) == ["kept: epoch 2, 0.4000"]


def test_slices_draw_every_model_and_leave_gaps_where_one_has_no_number() -> None:
    figure = slice_recall(SLICES)
    two_tower, als = figure.axes[0].lines
    assert two_tower.get_label() == "two-tower"
    np.testing.assert_array_equal(two_tower.get_xdata(), [0.5, 0.25])
    np.testing.assert_array_equal(als.get_xdata(), [0.5, np.nan])
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["all  (1,200)", "new items  (3)"]
    assert set(two_tower.get_ydata()).isdisjoint(als.get_ydata())  # equal recalls do not hide one another


def test_segment_shares() -> None:
    """Ten items by popularity 9, 8, ..., 0: rounded up, the top 1 % and 10 % are item 0, the top half items 0 to 4.

    Segments: [item 0], [], items 1 to 4, items 5 to 9.
    """
    popularity = np.arange(9, -1, -1)
    shown = np.array([4, 0, 0, 0, 2, 0, 0, 0, 0, 2])
    assert segment_shares(shown, popularity) == [0.5, 0.0, 0.25, 0.25]
    assert segment_shares(shown[::-1], popularity[::-1]) == [0.5, 0.0, 0.25, 0.25]
    assert segment_shares(np.zeros(10, np.int64), popularity) == [0, 0, 0, 0]


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=300))
def test_segment_shares_make_a_whole(pairs: list[tuple[int, int]]) -> None:
    popularity, shown = np.array(pairs).T
    shares = segment_shares(shown, popularity)
    assert all(share >= 0 for share in shares)
    assert sum(shares) == pytest.approx(1 if shown.sum() else 0)


def test_exposure_writes_the_shares_into_the_bars() -> None:
    popularity = np.arange(9, -1, -1)
    figure = exposure(popularity, {"two_tower": np.array([4, 0, 0, 0, 2, 0, 0, 0, 0, 2])})
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == ["training events", "two-tower"]
    # Training events: 9 of 45, nothing, 8 + 7 + 6 + 5 = 26 of 45, 10 of 45.
    assert texts(figure) == ["20 %", "50 %", "58 %", "25 %", "22 %", "25 %"]


def test_the_same_numbers_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        save(learning_curve(CURVES, 2), tmp_path / name / "curve.png")
        save(slice_recall(SLICES), tmp_path / name / "slices.png")
    for file in ("curve.png", "slices.png"):
        content = (tmp_path / "a" / file).read_bytes()
        assert content.startswith(b"\x89PNG")
        assert content == (tmp_path / "b" / file).read_bytes()

"""The verdict's page: it stands alone, and it says what the verdict says."""

import re
from typing import Any

import pytest

from pipelines.verdict_page import verdict_page
from tests.release_world import BASELINES, model_figures


def comparison(part: str, ours: float, theirs: float, **other: Any) -> dict[str, Any]:
    return {"against": "champion", "part": part, "events": 500, "users": 400, "ours": ours, "theirs": theirs,
            "low": ours - theirs - 0.02, "high": ours - theirs + 0.02, "tolerance": 0.1} | other


@pytest.fixture
def verdict() -> dict[str, Any]:
    checks = [{"name": "recall@10", "passed": True, "value": 0.2, "threshold": 0.01, "reason": "high", "rule": "floor"},
              {"name": "slice_new_user_vs_champion", "passed": False, "value": 0.01, "threshold": 0.08,
               "reason": "fewer", "rule": "proven loss"}]
    return {
        "accepted": False, "bundle": "b" * 64, "as_of": "2026-11-01T00:00:00+00:00", "parent": 7, "champion": "c" * 64,
        "settings": {"seed": 17}, "checks": checks, "by_shared_items": [0] * 6 + [3, 4, 2, 1, 0], "replay": None,
        "comparisons": [comparison("all", 0.2, 0.19), comparison("new_user", 0.01, 0.1),
                        comparison("users.country=CH", 0.2, 0.2, low=None, high=None)],
    }


def figures() -> dict[str, Any]:
    return model_figures(metrics={"recall@10": 0.19}, intervals={"recall@10": [0.18, 0.2]})


def test_the_page_stands_alone(verdict: dict[str, Any]) -> None:
    page = verdict_page(verdict, figures())
    assert not re.search(r"(src|href)=|url\(|@import|<script|http", page)
    assert "prefers-color-scheme: dark" in page and "max-width: 40rem" in page


def test_it_draws_each_model_each_part_and_each_number_of_shared_items(verdict: dict[str, Any]) -> None:
    page = verdict_page(verdict, figures())
    # Challenger, champion and baselines; three parts; 0 to 10 shared items.
    assert page.count("<svg") == 2 + len(BASELINES) + 3 + 11
    assert page.count("<circle") == 3
    assert page.count('<circle class="lost"') == 1  # the new users
    assert page.count('<circle class="unjudged"') == 1  # the country of few shoppers
    # What was lost stands before anything else.
    assert page.index("slice_new_user_vs_champion") < page.index("<h2>")
    assert "1 of 2 checks passed" in page and "judged against release 7" in page


def test_bars_are_as_long_as_their_figures(verdict: dict[str, Any]) -> None:
    page = verdict_page(verdict, figures())
    widths = [float(width) for width in re.findall(r'height="16" width="([\d.]+)%"', page)]
    # .2 of the largest interval's end, .2: all of 92 %. Champion .19, baselines .1.
    assert widths == pytest.approx([92.0, 92 * 0.95, 46, 46, 46, 46], abs=0.01)


def test_a_first_release_is_shown_beside_popularity(verdict: dict[str, Any]) -> None:
    first = verdict | {"parent": None, "champion": None, "by_shared_items": None, "accepted": True,
                       "comparisons": [comparison("all", 0.2, 0.1, against="popularity")]}
    page = verdict_page(first, model_figures())
    assert "Challenger minus popularity" in page and "no incumbent" in page
    assert page.count("<svg") == 1 + len(BASELINES) + 1


def test_whatever_a_shop_calls_its_values_is_text(verdict: dict[str, Any]) -> None:
    evil = "<script>alert(1)</script>"
    verdict["checks"][0] |= {"name": evil, "reason": evil, "rule": evil}
    verdict["comparisons"].append(comparison(f"{evil}={evil}", 0.1, 0.1))
    verdict["settings"] = {evil: evil}
    assert "<script" not in verdict_page(verdict, figures() | {evil: figures()["als"]})

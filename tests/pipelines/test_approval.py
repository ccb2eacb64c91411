"""What a person is shown before a release, and where the answer stands."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipelines.approval import Approval, approved, record
from pipelines.approval_text import evidence, plain
from pipelines.contracts import Origin, Verdict
from pipelines.errors import TrackingError
from pipelines.gate import gate
from pipelines.gate_rules import GateSettings
from pipelines.index import IndexSettings, index
from pipelines.promote import promote
from pipelines.settings import Settings
from serving.store import ReleaseStore
from tests.release_world import item_arrays, make_registered, model_figures

ORIGIN = Origin(actor="scheduler", reason="weekly")
NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)


@pytest.fixture
def challenger(tmp_path: Path, places: Settings) -> Verdict:
    """Release 1 knows best-sellers alone; its challenger groups too, with a recall that is twice as good."""
    by_demand, _ = item_arrays()
    by_demand[:, :4] = 0
    first = gate(index(make_registered(tmp_path, vectors=by_demand), IndexSettings(), places, tmp_path),
                 GateSettings(), places, tmp_path)
    promote(first, ORIGIN, False, places)
    figures = model_figures(metrics={"recall@10": 0.1, "coverage@10": 0.5})
    sealed = index(make_registered(tmp_path, metrics=figures, parent=1, champion=first.sealed.digest),
                   IndexSettings(), places, tmp_path)
    return gate(sealed, GateSettings(), places, tmp_path)


def test_the_evidence_shows_figures_slices_and_lists_side_by_side(challenger: Verdict, places: Settings) -> None:
    """A shopper of group 0 met items 0, 4 and 8. Live is what else sells best, 1 to 12; the challenger shows the seven
    of the group that are left, 12 to 36, and the best-sellers 1, 2, 3. Both show 1, 2, 3 and 12."""
    text = evidence(challenger, places, "http://mlflow/#/experiments/1/runs/r1")
    assert "release 1 is live" in text
    assert "| all, beside champion | 1,000 | 0.2000 | 0.1000 | +0.1000 | " in text
    assert "| all, beside als | 1,000 | 0.2000 | 0.1000 | +0.1000 | " in text
    assert "| new\\_user | 500 | " in text
    newcomer, *shoppers = text.split("### ")[2:]
    assert newcomer.startswith("A newcomer\n10 of 10 stay.")
    assert len(shoppers) == 3 and shoppers[0].startswith("Shopper 1: last met Item 0, Item 4, Item 8\n4 of 10 stay.")
    assert "| 1 | Item 1 | Item 12 |\n| 2 | Item 2 | Item 16 |" in shoppers[0]
    assert "| 8 | Item 10 | Item 1 |" in shoppers[0]
    assert "(http://mlflow/#/experiments/1/runs/r1/artifacts/verdict.html)" in text


def test_without_a_live_release_there_are_figures_alone(tmp_path: Path, places: Settings) -> None:
    first = gate(index(make_registered(tmp_path), IndexSettings(), places, tmp_path), GateSettings(), places, tmp_path)
    text = evidence(first, places)
    assert "nothing is live yet" in text and "beside popularity" in text
    assert "Shopper" not in text and "MLflow" not in text


def test_what_a_shop_writes_breaks_no_table_and_links_nowhere() -> None:
    assert plain("Bag |\n[free](http://x) <b>`now`</b>") == (
        r"Bag \| \[free\]\(http://x\) \<b\>\`now\`\</b\>")


def test_a_rejection_is_on_record_and_changes_nothing(challenger: Verdict, places: Settings, told: list) -> None:
    store = ReleaseStore(places.store)
    live = store.live()
    record(challenger, Approval(decision="rejected", by="ada", at=NOON, comment="too few scarves"), ORIGIN, places)
    [refusal] = store.refusals()
    assert (refusal.error, refusal.release.number, refusal.release.bundle) == (
        "ReleaseRejected", 2, challenger.sealed.digest)
    assert "ada rejected it: too few scarves; what is live stays" in refusal.message
    assert store.live() == live
    tags = [call[1][1] for call in told if call[0] == "tag"]
    assert {"vitrine.approval": "rejected by ada: too few scarves"} in tags

    record(challenger, Approval(decision="rejected"), ORIGIN, places)
    assert any("nobody approved it in time" in one.message for one in store.refusals())


def test_who_approved_stands_in_the_release(challenger: Verdict, places: Settings, told: list) -> None:
    answer = Approval(decision="approved", by="ada", at=NOON, comment="as agreed")
    record(challenger, answer, ORIGIN, places)
    assert ReleaseStore(places.store).refusals() == []
    released = promote(challenger, approved(ORIGIN, answer), False, places)
    record_ = ReleaseStore(places.store).get(released.number)
    assert (record_.actor, record_.reason) == ("scheduler", "weekly; approved by ada: as agreed")
    assert approved(ORIGIN, Approval(decision="not asked", comment="a dry run releases nothing")) == ORIGIN


def test_an_answer_without_mlflow_still_stands_in_the_store(
    challenger: Verdict, places: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from pipelines import tracking

    def is_down(*_: object) -> None:
        raise TrackingError("MLflow is down")

    monkeypatch.setattr(tracking, "tag", is_down)
    with caplog.at_level("WARNING", "vitrine"):
        record(challenger, Approval(decision="rejected", by="ada", at=NOON), ORIGIN, places)
    assert "not in MLflow: MLflow is down" in caplog.text
    assert len(ReleaseStore(places.store).refusals()) == 1

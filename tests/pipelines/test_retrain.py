from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipelines.contracts import Origin
from pipelines.errors import SettingsError
from pipelines.retrain import RetrainParams, check_settings, run_stage
from pipelines.settings import load_settings
from pipelines.train_settings import TrainSettings

AS_OF = datetime(2026, 6, 28, tzinfo=UTC)


@pytest.mark.parametrize(("source", "shop"), [
    ("/data/online_retail", "online-retail"),
    ("/data/Maison Élan/", "maison-lan"),
    ("postgres://user:secret@db/boutique?sslmode=require", "boutique"),
    ("sqlite:///data/shop.db", "shop"),
    ("/", "shop"),
])
def test_the_shop_is_named_by_its_source(source: str, shop: str) -> None:
    assert RetrainParams(source=source, as_of=AS_OF).shop == shop


def test_two_shops_share_an_installation_and_no_release(tmp_path: Path) -> None:
    places = load_settings({"VITRINE_HOME": str(tmp_path)})
    first, second = places.of_shop("one"), places.of_shop("two")
    assert first.artifacts == second.artifacts
    for name in ("store", "experiment", "model_name"):
        assert getattr(first, name) != getattr(second, name)


def test_the_window_ends_at_as_of() -> None:
    window = RetrainParams(source="x", as_of=AS_OF, window_days=7).window
    assert (window.start, window.as_of) == (datetime(2026, 6, 21, tzinfo=UTC), AS_OF)
    assert RetrainParams(source="x", as_of=AS_OF).window.start is None


def test_settings_of_a_stage_name_the_key_and_the_value() -> None:
    params = RetrainParams(source="x", as_of=AS_OF, settings={"train": {"dimension": 32}})
    assert params.of_stage("train", TrainSettings, max_epochs=3) == TrainSettings(dimension=32, max_epochs=3)
    wrong = RetrainParams(source="x", as_of=AS_OF, settings={"train": {"dimension": 1}})
    with pytest.raises(SettingsError, match=r"train.dimension = 1: .*greater than or equal to 4"):
        wrong.of_stage("train", TrainSettings)


def test_settings_of_search_are_settings_of_the_training() -> None:
    chosen = RetrainParams(source="x", as_of=AS_OF, settings={"train": {"search": {"steps": 9}, "dimension": 32}})
    found = chosen.of_stage("train", TrainSettings)
    assert (found.search.steps, found.search.batch, found.dimension) == (9, 512, 32)
    wrong = RetrainParams(source="x", as_of=AS_OF, settings={"train": {"pictures": {"filters": 9}}})
    with pytest.raises(SettingsError, match=r"train\.pictures\.filters = 9: Extra inputs are not permitted"):
        check_settings(wrong)


@pytest.mark.parametrize("stage", ["features", "train", "evaluate", "register", "index", "gate"])
def test_wrong_settings_are_refused_before_anything_runs(stage: str) -> None:
    check_settings(RetrainParams(source="x", as_of=AS_OF, settings={stage: {}}))
    with pytest.raises(SettingsError, match=f"{stage}.typo = 1"):
        check_settings(RetrainParams(source="x", as_of=AS_OF, settings={stage: {"typo": 1}}))


def test_a_stage_needs_what_comes_before_it(tmp_path: Path) -> None:
    places, params = load_settings({"VITRINE_HOME": str(tmp_path)}), RetrainParams(source="x", as_of=AS_OF)
    with pytest.raises(SettingsError, match="needs the result of the stage before it, a Ingested"):
        run_stage("features", None, params, Origin(), places)
    with pytest.raises(SettingsError, match="there is no stage 'bake'"):
        run_stage("bake", None, params, Origin(), places)


def test_an_empty_variable_is_a_mistake() -> None:
    with pytest.raises(SettingsError, match="VITRINE_STORE is set but empty"):
        load_settings({"VITRINE_STORE": " "})

"""What each task read and wrote, by the names of OpenLineage's convention."""

from pathlib import Path
from typing import Any

import pytest

from pipelines.contracts import Published, Released
from pipelines.index import IndexSettings, index
from pipelines.lineage import lineage
from pipelines.settings import Settings
from tests.lake_world import FIRST
from tests.mlflow_record import recorded
from tests.release_world import AS_OF, make_registered

PLACES = Settings(home=Path("/home"), artifacts=Path("/artifacts"), store="s3://bucket/stores/toy",
                  mlflow_uri="http://user:secret@mlflow:5000")


def named(found: Any) -> list[tuple[str, str, str | None]]:
    return [(one.namespace, one.name, one.version) for one in found]


@pytest.mark.parametrize(("source", "users", "expected"), [
    ("/shop", 3, [("file", "/shop/events"), ("file", "/shop/items"), ("file", "/shop/users")]),
    ("postgres://reader:secret@db:5433/boutique?sslmode=require", None,
     [("postgres://db:5433", "boutique.events"), ("postgres://db:5433", "boutique.items")]),
    ("file:///srv/shop", None, [("file", "/srv/shop/events"), ("file", "/srv/shop/items")]),
    ("s3://bucket/logs", None, [("s3://bucket", "logs/events"), ("s3://bucket", "logs/items")]),
])
@pytest.mark.parametrize("step", ["ingest", "land"])
def test_an_ingest_reads_tables_of_the_source(step: str, source: str, users: int | None, expected: list[Any]) -> None:
    found = lineage(step, None, {"source": source, "users": users, "path": "/a/ingest", "digest": "d"}, PLACES)
    assert named(found.inputs) == [(*one, None) for one in expected]
    assert named(found.outputs) == [("file", "/a/ingest", "d")]


def test_a_retrain_of_a_lake_reads_what_each_publication_writes(tmp_path: Path) -> None:
    (tmp_path / "lake.json").write_text('{"format": 1}')
    lake = {"source": str(tmp_path), "users": 3, "path": "/a/ingest", "digest": "d"}
    (read,) = lineage("ingest", None, lake, PLACES).inputs
    published = Published(lake=str(tmp_path), day=FIRST, revision=1, events=4, reopened={}).model_dump(mode="json")
    assert read == lineage("publish", {"path": "/a/audit", "digest": "d"}, published, PLACES).outputs[0]


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """The contracts of a small retrain by stage, as Airflow hands them on."""
    root = tmp_path_factory.mktemp("artifacts")
    registered = make_registered(root, parent=3, champion="c" * 64)
    evaluated = registered.evaluated
    with pytest.MonkeyPatch.context() as monkeypatch:
        recorded(monkeypatch)
        sealed = index(registered, IndexSettings(), PLACES.model_copy(update={"store": str(root / "store")}), root)
    stages = {"features": evaluated.trained.snapshot, "train": evaluated.trained, "evaluate": evaluated,
              "register": registered, "index": sealed}
    return {name: contract.model_dump(mode="json") for name, contract in stages.items()}


def folder(contract: dict[str, Any]) -> tuple[str, str, str]:
    return "file", contract["path"], contract["digest"]


def test_stages_read_what_the_stage_before_wrote(chain: dict[str, dict[str, Any]]) -> None:
    found = lineage("train", chain["features"], chain["train"], PLACES)
    assert (named(found.inputs), named(found.outputs)) == ([folder(chain["features"])], [folder(chain["train"])])
    found = lineage("evaluate", chain["train"], chain["evaluate"], PLACES)
    assert named(found.inputs) == [folder(chain["train"]), ("s3://bucket", f"stores/toy/bundles/{'c' * 64}", "c" * 64)]


def test_a_model_version_is_written_once_and_read_by_the_index(chain: dict[str, dict[str, Any]]) -> None:
    model = ("http://mlflow:5000", "models/vitrine", "1")
    assert named(lineage("register", chain["evaluate"], chain["register"], PLACES).outputs) == [model]
    found = lineage("index", chain["register"], chain["index"], PLACES)
    assert named(found.inputs) == [model, folder(chain["train"]), folder(chain["features"])]
    assert named(found.outputs) == [folder(chain["index"])]


@pytest.mark.parametrize("is_dry_run", [True, False])
def test_a_promotion_writes_a_release_unless_it_is_a_dry_run(
    chain: dict[str, dict[str, Any]], is_dry_run: bool
) -> None:
    verdict = {"path": "/a/gate", "digest": "v", "sealed": chain["index"]}
    digest = chain["index"]["digest"]
    released = Released(number=4, bundle=digest, parent=3, as_of=AS_OF, is_dry_run=is_dry_run)
    found = lineage("promote", verdict, released.model_dump(mode="json"), PLACES)
    assert named(found.inputs)[:2] == [("file", "/a/gate", "v"), folder(chain["index"])]
    assert named(found.outputs) == ([] if is_dry_run else [
        ("s3://bucket", f"stores/toy/bundles/{digest}", digest), ("s3://bucket", "stores/toy/releases", "4")])


def test_a_published_day_and_those_it_opened_again_are_partitions_of_the_lake() -> None:
    published = Published(lake="/lake/kiosk", day=FIRST.replace(day=3), revision=2, events=4, reopened={FIRST: 1})
    found = lineage("publish", {"path": "/a/audit", "digest": "d"}, published.model_dump(mode="json"), PLACES)
    assert named(found.outputs) == [("file", "/lake/kiosk/days", None), ("file", "/lake/kiosk/days/2026-03-01", None),
                                    ("file", "/lake/kiosk/days/2026-03-03", "2")]


def test_no_secret_of_an_address_stands_in_an_event(chain: dict[str, dict[str, Any]]) -> None:
    source = {"source": "postgres://reader:secret@db/boutique", "users": 1, "path": "/a", "digest": "d"}
    told = [lineage("ingest", None, source, PLACES), lineage("register", chain["evaluate"], chain["register"], PLACES)]
    assert "secret" not in str([one.as_json() for one in told]) and "reader" not in str(told[0].as_json())
    assert told[1].as_json()["outputs"] == [
        {"namespace": "http://mlflow:5000", "name": "models/vitrine", "version": "1"}]

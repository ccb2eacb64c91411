"""What a task read and what it wrote, by names that a data catalogue knows: namespace and name, as OpenLineage's.

A database's table is `postgres://host:port` and `database.table`, a file or folder is `file` and its path, an object of
a bucket is `s3://bucket` and its key, a model version is the address of MLflow and `models/NAME`. Of a lake a retrain
reads `LAKE/days`, to which each publication adds beside the day of its own. The version says which content: a digest, a
revision, a number.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from pipelines.contracts import Document
from pipelines.lake import is_lake
from pipelines.settings import Settings

Contract = Mapping[str, Any]
_OF_PATHS = ("s3", "gs", "az", "http", "https")  # all others are databases, of tables


class DataSet(Document):
    """Something that a task reads or writes.

    Attributes:
        namespace, name: what it is and where.
        version: digest, revision or number; none of a source, which has none.
    """

    namespace: str
    name: str
    version: str | None = None


class Lineage(NamedTuple):
    """The data sets of one task."""

    inputs: Sequence[DataSet]
    outputs: Sequence[DataSet]

    def as_json(self) -> dict[str, Any]:
        """For an asset's event."""
        return {side: [one.model_dump(mode="json", exclude_none=True) for one in found]
                for side, found in self._asdict().items()}


def lineage(step: str, upstream: Contract | None, contract: Contract, places: Settings) -> Lineage:
    """The data sets of a stage of the retrain, or of a step of the ingest of a day.

    Args:
        step: name of the stage or step.
        upstream: the contract that it took, as JSON.
        contract: the one that it returned.
        places: of the shop.
    """
    before = upstream or {}
    inputs = [_folder(before)] if upstream else _tables(contract)
    outputs = [_folder(contract)] if "path" in contract else []
    match step:
        case "evaluate":
            inputs += [_bundle(contract["champion"], places)] if contract["champion"] else []
        case "register":
            outputs = [_model(contract, places)]
        case "index":
            trained = before["evaluated"]["trained"]
            inputs = [_model(before, places), _folder(trained), _folder(trained["snapshot"])]
        case "promote":
            sealed = before["sealed"]
            inputs += [_folder(sealed), _model(sealed["registered"], places)]
            outputs = [] if contract["is_dry_run"] else [
                _bundle(contract["bundle"], places), _release(contract, places)]
        case "publish":
            # Which revision an earlier day became, its own record says.
            days = dict.fromkeys(contract["reopened"]) | {contract["day"]: str(contract["revision"])}
            outputs = [_days(contract["lake"]), *(
                DataSet(namespace="file", name=f"{contract['lake']}/days/{day}", version=revision)
                for day, revision in days.items())]
    return Lineage(inputs, outputs)


def _days(lake: str) -> DataSet:
    return DataSet(namespace="file", name=f"{lake}/days")


def _tables(contract: Contract) -> list[DataSet]:
    if is_lake(contract["source"]):
        return [_days(contract["source"])]
    names = ["events", "items", *(["users"] if contract["users"] else [])]
    return [_place(contract["source"], name) for name in names]


def _folder(contract: Contract) -> DataSet:
    return DataSet(namespace="file", name=contract["path"], version=contract["digest"])


def _model(registered: Contract, places: Settings) -> DataSet:
    place = _place(places.mlflow_uri, f"models/{registered['model_name']}")
    return place.model_copy(update={"version": registered["model_version"]})


def _bundle(digest: str, places: Settings) -> DataSet:
    return _place(places.store, f"bundles/{digest}").model_copy(update={"version": digest})


def _release(contract: Contract, places: Settings) -> DataSet:
    return _place(places.store, "releases").model_copy(update={"version": str(contract["number"])})


def _place(root: str, name: str) -> DataSet:
    """Something below a folder, a bucket or a database."""
    if "://" not in root:
        return DataSet(namespace="file", name=f"{root.rstrip('/')}/{name}")
    url = urlsplit(root)
    if url.scheme in ("file", "sqlite"):
        return DataSet(namespace="file", name=f"/{url.path.strip('/')}/{name}")
    inner, between = url.path.strip("/"), "/" if url.scheme in _OF_PATHS else "."
    return DataSet(namespace=f"{url.scheme}://{url.netloc.rpartition('@')[2]}",  # neither user nor password
                   name=f"{inner}{between if inner else ''}{name}")

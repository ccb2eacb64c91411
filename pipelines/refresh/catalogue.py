"""The shop's item table as it is today: read, held to the data contract, and copied."""

from pathlib import Path
from typing import Any

from pipelines import columns as c
from pipelines.artifacts import seal, stage_key
from pipelines.check import item_faults
from pipelines.contracts import Catalogue
from pipelines.encode import in_rows, write_table
from pipelines.errors import DataError, VitrineError
from pipelines.progress import log
from pipelines.shop_spec import ShopSpec
from pipelines.source import Source, open_source
from pipelines.tables import normalised

STAGE = "catalogue"
TABLE = "items.parquet"


def read_catalogue(source: str, spec: ShopSpec, root: Path) -> Catalogue:
    """Copy the item table of a source, of a lake as its last day has it; events and users are not read.

    Raises:
        DataError: the table is missing or breaks the data contract; every fault is in the message.
        VitrineError: a database does not answer, or the table changed while it was read; another try may help.
    """
    with open_source(source, only=(c.ITEMS,)) as opened:
        fingerprint = opened.fingerprint()
        return seal(Catalogue, root, STAGE, stage_key(STAGE, fingerprint, spec),
                    lambda out: _build(opened, fingerprint, spec, out))


def _build(source: Source, fingerprint: str, spec: ShopSpec, out: Path) -> dict[str, Any]:
    faults = item_faults(source, spec)
    errors = [fault for fault in faults if fault.severity == "error"]
    items = normalised(source, c.ITEMS, spec)
    if errors or items is None:
        raise DataError(f"the items of {source.name} break the data contract in {len(errors)} places:\n"
                        + "\n".join(f"  {fault}" for fault in errors))
    for fault in faults:
        log.warning("refresh: %s", fault)
    table = in_rows(items.to_pyarrow().to_pandas())
    write_table(table, out / TABLE)
    if source.fingerprint() != fingerprint:
        raise VitrineError(f"the items of {source.name} changed while they were read: refresh again when their writer "
                           "has finished")
    return {"source": source.name, "items": len(table)}

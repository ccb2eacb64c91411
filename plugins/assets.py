"""What DAGs tell one another, and what each task reads and writes: Airflow's pages draw both, and their events keep it.

The event of an asset says in its extra which data sets were read and written, see `pipelines.lineage`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from airflow.sdk import Asset, AssetAlias, Context

from pipelines.lineage import Lineage, lineage
from pipelines.settings import Settings

# A day of the log was published; which shop's, and which day, stands in the event's extra.
LAKE = Asset("vitrine_lake")
# The shop has a newer item table; whoever writes that tells so (POST /api/v2/assets/events).
CATALOGUE = Asset("vitrine_catalogue")
# A retrained model is live; shop and number stand in the event's extra.
RELEASE = Asset("vitrine_release")
# Of a task that may release, and of a dry run or a replay does not.
MAY_RELEASE = AssetAlias("vitrine_may_release")

# The shop's own tables, as they are.
SOURCE = Asset("vitrine_source")
# What comes of each task on the way from them; nothing waits for these, they are there to be looked at.
OUTLETS: Mapping[str, Asset] = {
    "land": Asset("vitrine_landed_day"), "audit": Asset("vitrine_audited_day"), "publish": LAKE,
    "ingest": Asset("vitrine_tables"), "features": Asset("vitrine_snapshot"), "train": Asset("vitrine_training"),
    "evaluate": Asset("vitrine_evaluation"), "register": Asset("vitrine_model_version"),
    "index": Asset("vitrine_bundle"), "gate": Asset("vitrine_verdict"),
}
_TAKEN: Mapping[str, Sequence[str]] = {
    "audit": ["land"], "publish": ["audit"], "features": ["ingest"], "train": ["features"], "evaluate": ["train"],
    "register": ["evaluate"], "index": ["register", "train", "features"], "gate": ["index"],
    "promote": ["gate", "index", "register"],
}
INLETS: Mapping[str, Sequence[Asset]] = {
    "land": [SOURCE], "ingest": [SOURCE, LAKE], **{step: [OUTLETS[one] for one in taken]
                                                   for step, taken in _TAKEN.items()}}


def emit(
    step: str, context: Context, shop: str, upstream: Mapping[str, Any] | None, contract: Mapping[str, Any],
    places: Settings
) -> Lineage:
    """What a task read and wrote, which the event of its asset says; a promotion's tells of a release, if it made one.
    """
    found = lineage(step, upstream, contract, places)
    extra = {"shop": shop, **found.as_json()}
    if step == "publish":
        extra |= contract
    if step in OUTLETS:
        context["outlet_events"][OUTLETS[step]].extra = extra
    elif step == "promote" and not contract["is_dry_run"]:
        context["outlet_events"][MAY_RELEASE].add(RELEASE, extra={**extra, **contract})
    return found

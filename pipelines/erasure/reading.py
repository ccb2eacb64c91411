"""Tables of a source without the people who were erased."""

import ibis.expr.types as ir
import pyarrow as pa
import pyarrow.compute as pc

from pipelines import columns as c
from pipelines.erasure.exclusion import UNTIL, Exclusion
from pipelines.source import Source


def without_erased(source: Source, events: ir.Table, exclusion: Exclusion) -> ir.Table:
    """Normalised `events` of `source` without what people did up to their erasure."""
    erased = exclusion.among(batch.column(0) for batch in source.stream(events.select(c.USER).distinct()))
    if not len(erased):
        return events
    source.engine.con.register("erased_users", erased)
    gone = source.engine.table("erased_users")
    return events.anti_join(gone, [events[c.USER] == gone[c.USER], events[c.TIME] <= gone[UNTIL]])


def known_users(people: pa.Table, exclusion: Exclusion) -> pa.Table:
    """A users' table without who was ever erased: a row has no time, so that nobody can say whose it is."""
    erased = exclusion.among([people.column(c.USER)])
    return people.filter(pc.invert(pc.is_in(people.column(c.USER), erased.column(c.USER)))) if len(erased) else people


def known_merges(source: Source, exclusion: Exclusion) -> pa.Table | None:
    """The merges of `source` by time, without those of ids that were erased since; None where there are none."""
    merges = source.table(c.MERGES)
    if merges is None:
        return None
    found = merges.order_by(c.TIME, c.MERGE).to_pyarrow()
    gone = exclusion.merges(found.to_pandas())
    kept = found.filter(pa.array(~gone))
    return kept if len(kept) else None

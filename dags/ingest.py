"""### Take a day of the shop's log into the lake

Steps, each one task that hands a small document (paths, digests, counts) to the next:

1. **land** reads the day from the source, with the catalogue as it is and what the online process laid down, holds it
   to the data contract, and writes it aside. It compares the days before with the lake, for events that came late.
2. **audit** looks at what was written: whole, of known columns and types, of the usual volume for that weekday, and not
   less than what is published already.
3. **publish** appends one record to each day that is new or changed, the day's own last, and emits the asset
   `vitrine_lake`. Only this step changes what a retrain reads.

**When it runs.** Every midnight UTC for the day that just ended. The day is the start of the data interval, so a
backfill over 30 days makes 30 partitions: `airflow backfill create --dag-id ingest --from-date 2026-03-01 --to-date
2026-03-30`. Days need no order, and `--reprocess-behavior completed` reads days again that were read before.

**Parameters.** `data`: folder, URL, or `connection:NAME` of an Airflow connection (VITRINE_INGEST by default). `day`:
another one than the interval's; a run that was triggered without a logical date needs it. `late_days`: how many days
before are compared. `landing`: whether events of the online process are taken in. `accept`: checks of the audit that a
person has looked into. `spec`: TOML file that overrides names, kinds and weights.

**Late events.** A day in the last `late_days` days that the source has otherwise than the lake is opened again by this
run and becomes a further revision. What comes later than that is taken in by running its own day again. A retrain
reads, of each day, the newest revision that was known at its `as_of`.

**How it ends.** Data that break the contract, and a day that the audit refuses, fail at once with table, column, count,
figures and remedy; nothing is published then. Anything else is retried three times, after one, two and four minutes.

**Race conditions.** Two runs may open the same day again: the same content is the same revision, and where the source
changed between them the first stands and the next run compares again. Two runs of the same day with other content:
the second fails in **publish** and says so. A task that outlived its supervisor is refused the same way.

**How to resume.** Clear the failed task, after a conflict **land** and what follows. What was done is found again.
"""

from datetime import UTC, datetime

from airflow.sdk import DAG, CronDataIntervalTimetable, Param

from pipelines.settings import load_settings
from plugins import forms
from plugins.lake_task import LakeTask

PARAMS = {
    "data": forms.source(
        load_settings().ingest_source, "Folder, Ibis URL or connection:NAME with the tables events, items and users."),
    "day": Param(
        None, type=["null", "string"], format="date", title="Day",
        description="Of UTC. Empty: the day at which the data interval begins.",
    ),
    "late_days": Param(
        7, type="integer", minimum=0, maximum=90, title="Late days",
        description="Earlier days to compare with the source; not more than it keeps.",
    ),
    "landing": Param(True, type="boolean", title="Landed events", description="Take in what the API laid down."),
    "accept": Param(
        [], type="array", items={"type": "string"}, title="Accepted checks",
        description="Of the audit: rows, schema, volume, shrunk, late, unknown-items.",
    ),
    "spec": forms.specification(),
    "reason": forms.reason("ingest", "Goes into the day's record."),
}

with DAG(
    dag_id="ingest",
    description="A day of the shop's log into the lake, audited before it is published",
    doc_md=__doc__,
    # A data interval of one whole day: a bare cron string would give one without width.
    schedule=CronDataIntervalTimetable("0 0 * * *", timezone="UTC"),
    start_date=datetime(2026, 1, 5, tzinfo=UTC),
    catchup=False,
    # Days are independent of one another; four at once leave the source some air.
    max_active_runs=4,
    params=PARAMS,
    tags=["vitrine", "lake"],
    default_args=forms.tries(3),
) as dag:
    landed = LakeTask(step="land", minutes=60)
    audited = LakeTask(step="audit", minutes=30, upstream=landed.output)
    # The load-bearing edge: a publication takes what the audit let through and nothing else.
    LakeTask(step="publish", minutes=30, upstream=audited.output)

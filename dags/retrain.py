"""### Retrain, judge and release the shop's recommendations

Steps, each one task that hands a small document (paths, digests, counts) to the next:

1. **ingest** validates the source's tables and copies the window's events into day partitions.
2. **features** encodes users and items, builds histories and cuts validation and test windows by time.
3. **train** fits the two-tower model and keeps the epoch that is best on the validation window.
4. **evaluate** scores it, the baselines and the live release on the same events.
5. **register** writes the MLflow run and the model version (alias `challenger`).
6. **index** builds the ScaNN index, measures its recall and seals the serving bundle.
7. **gate** answers, with numbers, whether the challenger may replace what is live.
8. **approve** asks a person, where the form wants it, and shows the evidence.
9. **promote** appends one record to the release log, and emits the asset `vitrine_release`. Only this step changes
   what shoppers see.

**When it runs.** Every Monday at 03:00 UTC for the week that just ended, and whenever somebody triggers
it. Missed weeks are not caught up: the next run sees their events anyway.

**Parameters.** `as_of`: events before this moment count; left empty, it is the data interval's end. A run
that was triggered without a logical date has no interval and needs it. `data`: folder or URL of the source
(VITRINE_SOURCE by default). `window_days`: only so much history; empty means all. `epochs`: at most so
many. `spec`: TOML file that overrides names, kinds and weights. `settings`: what stages are to do otherwise than by
default, as `{"train": {"members": 1}}`; they stand among the parameters of the run in MLflow. `dry_run`: all but the
release record. `replay`: reproduce a past day. `approval`: ask a person before the release, and wait `approval_hours`
at most.

**Backfills** are replays: each day is judged against the release that was live then, its run stands in MLflow under
that day with the tag `vitrine.cause` backfill, and nothing is promoted nor any alias moved. Of a lake (DAG `ingest`) it
reads what was known then, so that features come out as they did, and with them model, metrics and index are found.

**How it ends.** A gate that says no is not a failure: `promote` is skipped, its log has the reasons, the
live release stays. The button Verdict of both tasks opens the evidence. Wrong data or parameters fail at
once, naming table, column, count and remedy. Anything else is retried twice, after one and two minutes.

**Approval.** The question stands under *Required Actions* of the run and of the installation: figures beside the live
release with their intervals, slices, lists of a few shoppers side by side. Waiting holds no worker. Who approved it
stands in the release record; a rejection skips `promote`, stands in `vitrine releases --refused` and at the run in
MLflow, and so does no answer in time. Where another release came meanwhile, an approved one fails as any other.

**Race conditions.** One run at a time (`max_active_runs`), and one training at a time in the whole
installation: the pool `training` has one slot. A backfill does not count towards `max_active_runs`, and a
task whose supervisor died can live on beside its retry. Both are harmless: every task writes into a folder
of its own attempt and publishes it by one rename, and `promote` names the release that the challenger was
judged against: where another one came between, it fails and nothing changes.

**How to resume.** Clear the failed task: what was finished is found again by the digest of its inputs and
returns at once. After a conflict in `promote`, clear `evaluate` and everything after it, so that the
challenger is judged against the release that is live now.
"""

from datetime import UTC, datetime

from airflow.sdk import DAG, CronDataIntervalTimetable, Param

from pipelines.settings import load_settings
from plugins import forms
from plugins.approval_task import ApprovalTask
from plugins.stage_task import StageTask

PARAMS = {
    "data": forms.source(
        load_settings().source, "Folder or URL with the tables events, items and users."),
    "as_of": Param(
        None, type=["null", "string"], format="date-time", title="As of",
        description="Events before this moment count. Empty: the end of the data interval.",
    ),
    "window_days": forms.window_days(),
    "epochs": forms.epochs(),
    "spec": forms.specification(),
    "settings": forms.settings(),
    "dry_run": Param(False, type="boolean", title="Dry run", description="Judge, but release nothing."),
    "replay": Param(
        False, type="boolean", title="Replay", description="Reproduce a past day; a backfill always does.",
    ),
    "approval": Param(
        False, type="boolean", title="Approval", description="Ask a person before the release.",
    ),
    "approval_hours": Param(
        24, type="integer", minimum=1, title="Approval within (hours)",
        description="Without an answer the challenger is rejected, and what is live stays.",
    ),
    "reason": forms.reason("retrain", "Goes into the release record."),
}

with DAG(
    dag_id="retrain",
    description="From the shop's log to a released bundle of recommendations",
    doc_md=__doc__,
    schedule=CronDataIntervalTimetable("0 3 * * 1", timezone="UTC"),
    start_date=datetime(2026, 1, 5, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    params=PARAMS,
    tags=["vitrine", "recommendations"],
    default_args=forms.tries(2),
) as dag:
    ingested = StageTask(stage="ingest", minutes=60)
    snapshot = StageTask(stage="features", minutes=60, upstream=ingested.output)
    # TensorFlow takes all cores: a second training would only make both late. Where there are workers for trainings,
    # they listen to the queue of that name.
    trained = StageTask(stage="train", minutes=12 * 60, upstream=snapshot.output, pool="training", queue="training")
    evaluated = StageTask(stage="evaluate", minutes=3 * 60, upstream=trained.output)
    registered = StageTask(stage="register", minutes=30, upstream=evaluated.output)
    sealed = StageTask(stage="index", minutes=2 * 60, upstream=registered.output)
    verdict = StageTask(stage="gate", minutes=30, upstream=sealed.output)
    # The load-bearing edge: a promotion takes a verdict and nothing else, so that nothing can be
    # released that the gate has not judged.
    answer = ApprovalTask(task_id="approve", minutes=30, upstream=verdict.output)
    StageTask(stage="promote", minutes=15, upstream=verdict.output, approval=answer.output)

"""### Tidy up what killed processes and time leave behind

One task, **tidy**, looks at every shop of the installation:

- bundles that are neither live, nor of the last models and releases, nor leased (as `vitrine gc`);
- folders of stages' attempts in which nobody writes any more, checkpoints that nobody came back for, and the working
  folders of refreshed catalogues;
- MLflow runs of killed processes, which would say for ever that they are running;
- Airflow's task logs;
- MLflow's alias `champion`, which is set to the model version of the live release where it is another.

**When it runs.** Every day at 04:30 UTC, and by hand.

**Parameters.** Each bound is a field of the form; what it means stands beside it. `dry_run`: only say what would go;
left empty, the daily run does it and a run by hand only looks.

**How it ends.** The task returns what was found and removed, by kind and place. Where MLflow cannot be reached it
fails after everything else was tidied, and is retried.

**Race conditions.** One run at a time. What a running stage writes is younger than every bound; a bundle is marked
before it is looked at once more and removed, so that no promoter and no reader loses one.

**How to resume.** Clear the task, or wait for tomorrow: whatever was left half is found again.
"""

from datetime import UTC, datetime

from airflow.sdk import DAG, CronTriggerTimetable, Param

from pipelines.housekeeping.bounds import Bounds
from plugins import forms
from plugins.form_task import FormTask

BOUNDS = Bounds()


def bound(name: str, title: str, description: str) -> Param:
    """A field of Bounds, with its own default."""
    default = getattr(BOUNDS, name)
    return Param(default, type="integer" if isinstance(default, int) else "number", minimum=0, title=title,
                 description=description)


PARAMS = {
    "keep_bundles": bound("keep_bundles", "Bundles to keep", "Before the live one; as many models, too."),
    "grace_hours": bound("grace_hours", "Grace (hours)", "No bundle younger goes, or in use so lately."),
    "attempt_hours": bound("attempt_hours", "Attempts (hours)", "Without a write; more than the longest stage takes."),
    "checkpoint_days": bound("checkpoint_days", "Checkpoints (days)", "Of trainings that nobody took up again."),
    "refresh_days": bound("refresh_days", "Refreshes (days)", "Working folders; releases have copies of their own."),
    "run_hours": bound("run_hours", "MLflow runs (hours)", "That say for so long that they are running."),
    "log_days": bound("log_days", "Task logs (days)", "Of Airflow."),
    "dry_run": Param(
        None, type=["null", "boolean"], title="Dry run",
        description="Only say what would be removed. Empty: the daily run does it, a run by hand only looks.",
    ),
    "reason": forms.reason("housekeeping"),
}

with DAG(
    dag_id="housekeeping",
    description="Bundles, orphaned attempts, stale runs, old logs; champion follows what is live",
    doc_md=__doc__,
    schedule=CronTriggerTimetable("30 4 * * *", timezone="UTC"),
    start_date=datetime(2026, 1, 5, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    params=PARAMS,
    tags=["vitrine", "operations"],
    default_args=forms.tries(3),
) as dag:
    FormTask(task_id="tidy", call="pipelines.housekeeping.run:keep_house",
             form="pipelines.housekeeping.run:HousekeepingParams", minutes=120)

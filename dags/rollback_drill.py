"""### Would a rollback work today, and how long would shoppers wait for it?

One task, **drill**, copies the release log and two bundles aside, lets a reader serve from the copy, rolls the copy
back and asks the reader until the older release answers. The store itself is only read, and the copy is removed.

**When it runs.** On the first of each month at 05:00 UTC, and by hand.

**Parameters.** `to`: number of the release to go back to; empty for what was live before. `shop`: whose releases,
where the store holds several shops. `patience_s`: after so many seconds the drill has failed.

**How it ends.** The task returns the seconds from the record to the first answer, and how many lists were asked for.
With a single release there is nothing to go back to, and it fails at once and says so. A bundle that is gone or
damaged, or a reader that does not take it over, fails it too: mend that before the rollback is needed.

**Race conditions.** None: it works on a copy of its own. A release that is made meanwhile is not in it.

**How to resume.** Clear the task.
"""

from datetime import UTC, datetime

from airflow.sdk import DAG, CronTriggerTimetable, Param

from plugins import forms
from plugins.form_task import FormTask

PARAMS = {
    "to": Param(
        None, type=["null", "integer"], minimum=1, title="To release",
        description="Number of the release to go back to. Empty: what was live before.",
    ),
    "shop": forms.shop(),
    "patience_s": Param(300, type="number", minimum=1, title="Patience (s)", description="Longer is a failure."),
    "reason": forms.reason("drill"),
}

with DAG(
    dag_id="rollback_drill",
    description="A rollback rehearsed on a copy of the release log, with its time",
    doc_md=__doc__,
    schedule=CronTriggerTimetable("0 5 1 * *", timezone="UTC"),
    start_date=datetime(2026, 1, 5, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    params=PARAMS,
    tags=["vitrine", "operations"],
    default_args=forms.tries(2),
) as dag:
    FormTask(task_id="drill", call="pipelines.releases.drill:rehearse", form="pipelines.releases.drill:DrillParams",
             minutes=60)

"""### What the retrain would have reached on past days

Rolling origins: the shop is retrained as of each of several past days, and measured on the events that followed.

1. **cutoffs** lists the days from the form.
2. **cutoff**, one mapped task a day, runs ingest, features, train and evaluate as of it. Nothing is registered, sealed
   or released.
3. **report** writes one MLflow run with a nested run a day, a table, and a chart of recall over time beside the
   baselines.

**When it runs.** Only when somebody triggers it.

**Parameters.** `data`: folder, lake, URL or `connection:NAME` (VITRINE_SOURCE by default). `first`, `last`: the first
moment to retrain as of and the last one allowed. `every_days`: from one to the next. `window_days`, `epochs`, `spec`:
as of the retrain. `reason`: goes into the record.

**How it ends.** A day with too few events before it fails at once and says so; choose a later first. Anything else is
retried twice.

**Race conditions.** The days share the pool `training`, so that they train one after the other, and with the retrain.
The same backtest twice at once finds each other's results.

**How to resume.** Clear the failed tasks: what was finished is found again by the digest of its inputs.
"""

from datetime import timedelta

from airflow.sdk import DAG, Param

from pipelines.settings import load_settings
from plugins import forms
from plugins.backtest_task import CutoffsTask, CutoffTask, ReportTask

PARAMS = {
    "data": forms.source(
        load_settings().source, "Folder, lake, Ibis URL or connection:NAME with the tables events, items and users."),
    "first": Param(
        None, type="string", format="date-time", title="First", description="The first moment to retrain as of.",
    ),
    "last": Param(None, type="string", format="date-time", title="Last", description="No later than this."),
    "every_days": Param(7, type="integer", minimum=1, title="Every (days)", description="From one to the next."),
    "window_days": forms.window_days(),
    "epochs": forms.epochs(),
    "spec": forms.specification(),
    "reason": forms.reason("backtest"),
}

with DAG(
    dag_id="backtest",
    description="Recall over time, as of many past days, beside the baselines",
    doc_md=__doc__,
    schedule=None,
    catchup=False,
    max_active_runs=1,
    params=PARAMS,
    tags=["vitrine", "recommendations"],
    default_args=forms.tries(2),
) as dag:
    cutoffs = CutoffsTask(task_id="cutoffs", execution_timeout=timedelta(minutes=15))
    # TensorFlow takes all cores: one day at a time.
    measured = CutoffTask.partial(
        task_id="cutoff", pool="training", queue="training", execution_timeout=timedelta(hours=12),
    ).expand(as_of=cutoffs.output)
    ReportTask(task_id="report", cutoffs=measured.output, execution_timeout=timedelta(minutes=30))

"""### Today's products under the model that is live

One task, **refresh**, reads the shop's item table and embeds what is new or has other features with the live model's
own item tower; nothing is trained. Everything else of a release that speaks of items follows: index, words, pictures,
prices, availability. A light gate judges what came out, and the release goes on with the same model version.

**When it runs.** Every hour, and at once where somebody says that there is a newer catalogue (asset
`vitrine_catalogue`), a day of the lake was published, or a retrained model became live, whose catalogue is as old as
its training.

**Parameters.** `data`: folder, lake, URL or `connection:NAME` (VITRINE_SOURCE by default); only its items are read.
`max_changed`: part of the items that may differ from what is live. `max_churn`: part of the first ten of the panel's
shoppers that may. `spec`: as of the retrain. `dry_run`: all but the release record.

**How it ends.** The same catalogue again changes nothing. Where the gate says no the task is skipped, its log has the
figures, and the live release stays; where so large a change is meant, trigger by hand with other bounds. An item
table that breaks the data contract, or lacks what the model was trained on, fails at once and says so. Anything else
is retried three times.

**Race conditions.** One run at a time. A retrain that releases meanwhile is never undone: the refresh begins anew
with its model. A retrain that was judged before a refresh is not held up by it.

**How to resume.** Clear the task: what was done is found again by the digest of its inputs.
"""

from datetime import UTC, datetime

from airflow.sdk import DAG, AssetOrTimeSchedule, CronTriggerTimetable, Param

from pipelines.settings import load_settings
from plugins import forms
from plugins.assets import CATALOGUE, LAKE, RELEASE
from plugins.form_task import FormTask

PARAMS = {
    "data": forms.source(load_settings().source, "Folder, lake, Ibis URL or connection:NAME with the table items."),
    "max_changed": Param(
        0.2, type="number", minimum=0, maximum=1, title="Changed at most",
        description="Part of the items that may have come, gone or changed since the live release.",
    ),
    "max_churn": Param(
        0.3, type="number", minimum=0, maximum=1, title="Churn at most",
        description="Mean part of the first ten of the panel's shoppers that may be others.",
    ),
    "spec": forms.specification(),
    "dry_run": Param(False, type="boolean", title="Dry run", description="Judge, but release nothing."),
    "reason": forms.reason("refresh", "Goes into the release record."),
}

with DAG(
    dag_id="refresh_catalogue",
    description="Today's products under the model that is live",
    doc_md=__doc__,
    # At a quarter past: the retrain begins on the hour.
    schedule=AssetOrTimeSchedule(timetable=CronTriggerTimetable("15 * * * *", timezone="UTC"),
                                 assets=CATALOGUE | LAKE | RELEASE),
    start_date=datetime(2026, 1, 5, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    params=PARAMS,
    tags=["vitrine", "recommendations"],
    default_args=forms.tries(3),
) as dag:
    FormTask(task_id="refresh", call="pipelines.refresh.run:refresh_catalogue",
             form="pipelines.refresh.run:RefreshParams", minutes=30)

"""### Erase a person

One task, **erase**, searches everything that the installation keeps for a person, under all ids that were merged;
unless it is a dry run it then writes the erasure, from which on no process knows the person, and removes what was
found.

**When it runs.** Only when somebody triggers it.

**Parameters.** `user`: any id of the person. `reason`: why; it is kept for good and is not to name the person.
`shop`: whose customer, where there are several shops. `dry_run`: on unless it is switched off: it is only searched
then.

**How it ends.** The task returns the receipt: where was searched, what was found and removed, what remains and until
when. It names nobody. Airflow itself keeps the form, with the id: delete the run once the receipt is filed.

**Race conditions.** A stage that reads the person's data meanwhile ends and leaves them out when it is tried again.
The same erasure twice is one.

**How to resume.** Clear the task: what was removed is not found again, and the record stands.
"""

from airflow.sdk import DAG, Param

from plugins import forms
from plugins.form_task import FormTask

PARAMS = {
    "user": Param(None, type="string", minLength=1, title="Customer", description="Any id of the person."),
    "reason": Param(
        None, type="string", minLength=1, title="Reason",
        description="Why; is kept for good, and is not to name the person.",
    ),
    "shop": forms.shop(),
    "dry_run": Param(True, type="boolean", title="Dry run", description="Only search. Switch off to erase."),
}

with DAG(
    dag_id="erase_user",
    description="A person erased from every answer, file and later training, with a receipt",
    doc_md=__doc__,
    schedule=None,
    catchup=False,
    max_active_runs=1,
    params=PARAMS,
    tags=["vitrine", "operations"],
    default_args=forms.tries(3),
) as dag:
    FormTask(task_id="erase", call="pipelines.erasure.operate:erase", form="pipelines.erasure.operate:EraseParams",
             minutes=6 * 60)

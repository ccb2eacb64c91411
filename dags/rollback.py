"""### Make an older release live again

One task, **rollback**, appends a record to the release log that names an older bundle. Readers swap within seconds.

**When it runs.** Only when somebody triggers it.

**Parameters.** `to`: number of the release that is to be live again; empty for what was live before. `reason`: why; it
stands in the record for ever. `shop`: whose releases, where the store holds several shops. `dry_run`: on unless it is
switched off: the log then says what would be done, and nothing is.

**How it ends.** The task returns the record. Without a release to go back to, or where the bundle is gone, it fails at
once and says so; nothing changes then.

**Race conditions.** A release that comes between makes the rollback fail, and what is live then stays. There are no
retries: a rollback that is repeated would go back once more.

**How to resume.** Look at `vitrine releases`: where the record is there, it was done; else trigger again.
"""

from airflow.sdk import DAG, Param

from plugins import forms
from plugins.rollback_task import RollbackTask

PARAMS = {
    "to": Param(
        None, type=["null", "integer"], minimum=1, title="To release",
        description="Number of the release that is to be live again. Empty: what was live before.",
    ),
    "reason": Param(
        None, type="string", minLength=1, title="Reason", description="Why; stands in the release record.",
    ),
    "shop": Param(
        None, type=["null", "string"], title="Shop", description="Empty: the only shop of the store.",
    ),
    "dry_run": Param(
        True, type="boolean", title="Dry run", description="Only say what would be done. Switch off to do it.",
    ),
}

with DAG(
    dag_id="rollback",
    description="An older release live again",
    doc_md=__doc__,
    schedule=None,
    catchup=False,
    max_active_runs=1,
    params=PARAMS,
    tags=["vitrine", "recommendations"],
    default_args=forms.tries(0),
) as dag:
    RollbackTask(task_id="rollback", minutes=15)

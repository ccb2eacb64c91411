"""A rollback of the live release as an Airflow task; the work itself is `pipelines.releases.operate.rollback`."""

import logging
from datetime import timedelta
from typing import Any

from airflow.sdk import BaseOperator, Context
from pydantic import ValidationError

from pipelines.errors import SettingsError
from pipelines.settings import load_settings
from pipelines.validation import faults_of
from plugins.failures import named_failures
from plugins.stage_task import origin_of
from plugins.store_connection import with_connection

log = logging.getLogger("vitrine")


class RollbackTask(BaseOperator):
    """Makes an older bundle live again, or says what a rollback would do, and returns the record.

    A rollback that is tried again would go back once more, so that it has no retries: the log says whether it was done.

    Args:
        minutes: the task is ended when it runs longer.
        options: any argument of Airflow's BaseOperator.
    """

    ui_color = "#f6e0dd"

    def __init__(self, *, minutes: float, **options: Any) -> None:
        super().__init__(execution_timeout=timedelta(minutes=minutes), **{"retries": 0, **options})

    def execute(self, context: Context) -> dict[str, Any]:
        """Roll back.

        Raises:
            AirflowFailException: there is nothing to roll back to, or somebody released meanwhile.
        """
        from pipelines.releases.operate import RollbackParams, rollback  # opens stores, which parsing does not need

        with named_failures():
            try:
                params = RollbackParams.model_validate(dict(context["params"]))
            except ValidationError as error:
                raise SettingsError(f"the form is wrong: {faults_of(error)}") from error
            release = rollback(params, origin_of(context), with_connection(load_settings()))
        log.info("rollback: release %d of bundle %s, which release %s was, %s in place of release %s", release.number,
                 release.bundle[:12], release.restores,
                 "would be live (dry run)" if params.dry_run else "is live", release.parent)
        return release.model_dump(mode="json")

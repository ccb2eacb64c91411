"""A step of the ingest of a day as a retryable Airflow task; the work itself is `pipelines.lake_steps.run_step`."""

import logging
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from airflow.sdk import BaseOperator, Context
from pydantic import ValidationError

from pipelines.errors import SettingsError
from pipelines.lake_steps import IngestParams, run_step
from pipelines.settings import load_settings
from pipelines.validation import faults_of
from plugins.assets import INLETS, OUTLETS, emit
from plugins.failures import named_failures
from plugins.series import tell
from plugins.source_connection import source_of
from plugins.stage_task import origin_of, summary
from plugins.told_lineage import TellsLineage

log = logging.getLogger("vitrine")


class LakeTask(TellsLineage, BaseOperator):
    """Runs one step on the contract of the step before it and returns its contract.

    Args:
        step: name of the step, one of pipelines.lake_steps.STEPS; also the task's id.
        minutes: the step is ended and retried when it runs longer.
        upstream: contract of the step before, as that task's output; none for the first.
        options: any argument of Airflow's BaseOperator.
    """

    template_fields = ("upstream",)
    ui_color = "#e3eef3"

    def __init__(self, *, step: str, minutes: float, upstream: Any = None, **options: Any) -> None:
        options.setdefault("task_id", step)
        options |= {"inlets": INLETS[step], "outlets": [OUTLETS[step]]}
        super().__init__(execution_timeout=timedelta(minutes=minutes), **options)
        self.step = step
        self.upstream = upstream

    def execute(self, context: Context) -> dict[str, Any]:
        """Run the step.

        Raises:
            AirflowFailException: an error that no retry can mend: wrong data, a refusal of the audit.
        """
        with named_failures():
            params = ingest_params(context)
            places = load_settings()
            contract = run_step(self.step, self.upstream, params, origin_of(context), places)
        self.told = emit(self.step, context, params.shop, self.upstream, contract, places.of_shop(params.shop))
        tell(self.step, params.shop, contract)
        log.info("%s: %s", self.step, summary(contract))
        return contract


def ingest_params(context: Context) -> IngestParams:
    """The run's parameters: the form's, with the day from the data interval and never from the clock.

    Raises:
        SettingsError: a parameter is missing or wrong.
    """
    form: Mapping[str, Any] = dict(context["params"])
    start = context["dag_run"].data_interval_start
    day = form["day"] or (start.date() if start is not None else None)
    if day is None:
        raise SettingsError("day is empty, and a run without a logical date has no data interval to take it from; "
                            "trigger again with day, for example 2026-11-01")
    if not form["data"]:
        raise SettingsError("data is empty: give the source in the form, or set VITRINE_INGEST")
    rest = {name: value for name, value in form.items() if name not in ("day", "data")}
    try:
        return IngestParams.model_validate({"source": source_of(form["data"]), "day": day, **rest})
    except ValidationError as error:
        # Not the values: the source may hold a password.
        raise SettingsError(f"the run's parameters are wrong: {faults_of(error)}") from None

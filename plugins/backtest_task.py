"""The three kinds of task of a backtest; the work itself is `pipelines.backtest`."""

import logging
from collections.abc import Sequence
from typing import Any

from airflow.sdk import BaseOperator, Context
from pydantic import ValidationError

from pipelines.errors import SettingsError
from pipelines.retrain import shop_of
from pipelines.settings import Settings, load_settings
from pipelines.validation import faults_of
from plugins.failures import named_failures
from plugins.source_connection import source_of
from plugins.stage_task import origin_of
from plugins.store_connection import with_connection

log = logging.getLogger("vitrine")


class CutoffsTask(BaseOperator):
    """Lists the moments to retrain as of, as text in ISO 8601: one mapped task each follows."""

    def execute(self, context: Context) -> list[str]:
        """List them.

        Raises:
            AirflowFailException: the form is wrong.
        """
        with named_failures():
            return [one.as_of.isoformat() for one in _form(context).retrains()]


class CutoffTask(BaseOperator):
    """Retrains as of one moment, as far as the evaluation, and returns its figures.

    Args:
        as_of: the moment, one that CutoffsTask listed.
        options: any argument of Airflow's BaseOperator.
    """

    template_fields = ("as_of",)
    ui_color = "#f3e9d8"

    def __init__(self, *, as_of: Any, **options: Any) -> None:
        super().__init__(**options)
        self.as_of = as_of

    def execute(self, context: Context) -> dict[str, Any]:
        """Retrain and measure.

        Raises:
            AirflowFailException: an error that no retry can mend: wrong data, too few events.
        """
        from pipelines.backtest import measure

        with named_failures():
            form = _form(context)
            params = next(one for one in form.retrains() if one.as_of.isoformat() == self.as_of)
            return measure(params, origin_of(context), _places(form)).model_dump(mode="json")


class ReportTask(BaseOperator):
    """Writes the MLflow run of the whole backtest and returns it.

    Args:
        cutoffs: what the mapped tasks returned.
        options: any argument of Airflow's BaseOperator.
    """

    template_fields = ("cutoffs",)

    def __init__(self, *, cutoffs: Any, **options: Any) -> None:
        super().__init__(**options)
        self.cutoffs: Sequence[dict[str, Any]] = cutoffs

    def execute(self, context: Context) -> dict[str, Any]:
        """Write it.

        Raises:
            TrackingError: MLflow cannot be reached; a retry resumes the same run.
        """
        from pipelines.backtest import Cutoff, report

        with named_failures():
            found, form = [Cutoff.model_validate(one) for one in self.cutoffs], _form(context)
            done = report(form, found, origin_of(context), _places(form))
        log.info("backtest: %d cutoffs in MLflow run %s", len(done.cutoffs), done.run_id)
        return {"run_id": done.run_id, "cutoffs": len(done.cutoffs)}


def _form(context: Context) -> Any:
    from pipelines.backtest import BacktestParams  # brings what parsing a DAG does not need

    form = dict(context["params"])
    source = form.pop("data")
    if not source:
        raise SettingsError("data is empty: give the source's folder or URL in the form, or set VITRINE_SOURCE")
    try:
        return BacktestParams.model_validate({"source": source_of(source), **form})
    except ValidationError as error:
        # Not the values: the source may hold a password.
        raise SettingsError(f"the form is wrong: {faults_of(error)}") from None


def _places(form: Any) -> Settings:
    return with_connection(load_settings()).of_shop(shop_of(form.source))

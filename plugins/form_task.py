"""One of Vitrine's calls, with a form as its parameters, as an Airflow task."""

import logging
import pkgutil
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from airflow.sdk import BaseOperator, Context
from pydantic import BaseModel, ValidationError

from pipelines.errors import SettingsError
from pipelines.settings import load_settings
from pipelines.validation import faults_of
from plugins.failures import named_failures
from plugins.series import tell
from plugins.source_connection import source_of
from plugins.stage_task import origin_of, summary
from plugins.store_connection import with_connection

log = logging.getLogger("vitrine")


class FormTask(BaseOperator):
    """Calls a function with the run's form, and returns the document that it returns.

    Args:
        call: the function, as module:name; it takes the form, who asks for it, and the places of the installation.
        form: its form, as module:name of a Document; the form's `data` is that one's `source`.
        minutes: the task is ended, and retried where it has retries, when it runs longer.
        options: any argument of Airflow's BaseOperator.
    """

    ui_color = "#e3eef3"

    def __init__(self, *, call: str, form: str, minutes: float, **options: Any) -> None:
        super().__init__(execution_timeout=timedelta(minutes=minutes), **options)
        self.call, self.form = call, form

    def execute(self, context: Context) -> dict[str, Any]:
        """Call it.

        Raises:
            AirflowFailException: an error that no retry can mend: a wrong form, wrong data.
            AirflowSkipException: a gate refused; the reasons stand in the message.
        """
        with named_failures():
            params = filled(pkgutil.resolve_name(self.form), dict(context["params"]))
            found: BaseModel = pkgutil.resolve_name(self.call)(
                params, origin_of(context), with_connection(load_settings()))
        contract = found.model_dump(mode="json")
        tell(self.task_id, contract.get("shop") or getattr(params, "shop", None), contract)
        log.info("%s: %s", self.task_id, summary(contract))
        return contract


def filled(kind: type[BaseModel], form: Mapping[str, Any]) -> BaseModel:
    """The document that a form fills; what was left empty has the document's own default.

    Raises:
        SettingsError: a field is missing or wrong. Values are not shown: a source may hold a password.
    """
    given = {name: value for name, value in form.items() if value is not None}
    if "source" in kind.model_fields and "data" in form:
        source = given.pop("data", None)
        if not source:
            raise SettingsError("data is empty: give the source's folder or URL in the form, or set VITRINE_SOURCE")
        given["source"] = source_of(source)
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        raise SettingsError(f"the form is wrong: {faults_of(error)}") from None

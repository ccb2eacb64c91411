"""A stage of the retrain as a retryable Airflow task.

The task adds what an orchestrator must decide and nothing else: which failures are worth a retry,
what ends a run early without an error, who asked for it. The work itself is `pipelines.retrain.run_stage`,
the same call that the command line makes.
"""

import logging
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from airflow.sdk import BaseOperator, Context
from pydantic import ValidationError

from pipelines.addresses import redacted
from pipelines.contracts import Origin
from pipelines.errors import GateRejected, SettingsError
from pipelines.retrain import RetrainParams, check_settings, run_stage
from pipelines.revision import git_revision
from pipelines.settings import load_settings
from plugins.assets import INLETS, MAY_RELEASE, OUTLETS, emit
from plugins.failures import named_failures
from plugins.mlflow_links import MlflowRunLink, VerdictLink
from plugins.series import tell
from plugins.source_connection import source_of
from plugins.store_connection import with_connection
from plugins.told_lineage import TellsLineage

log = logging.getLogger("vitrine")
# From here on a retrain has its run in MLflow.
REGISTERED = ("register", "index", "gate", "promote")
OF_APPROVAL = ("approval", "approval_hours", "comment")  # what a form says to plugins/approval_task.py alone
JUDGED = ("gate", "promote")  # and from here on a verdict in it


class StageTask(TellsLineage, BaseOperator):
    """Runs one stage on the contract of the stage before it and returns its contract.

    Args:
        stage: name of the stage, one of pipelines.retrain.STAGES; also the task's id.
        minutes: the stage is ended and retried when it runs longer.
        upstream: contract of the stage before, as that task's output; none for the first stage.
        approval: what came of asking a person, as that task's output; goes into the release record.
        options: any argument of Airflow's BaseOperator.
    """

    template_fields = ("upstream", "approval")
    ui_color = "#f3e9d8"

    def __init__(self, *, stage: str, minutes: float, upstream: Any = None, approval: Any = None,
                 **options: Any) -> None:
        options.setdefault("task_id", stage)
        options |= {"inlets": INLETS[stage], "outlets": [OUTLETS.get(stage, MAY_RELEASE)]}
        super().__init__(execution_timeout=timedelta(minutes=minutes), **options)
        self.stage = stage
        self.upstream = upstream
        self.approval = approval
        if stage in REGISTERED:
            self.operator_extra_links = (MlflowRunLink(), VerdictLink()) if stage in JUDGED else (MlflowRunLink(),)

    def execute(self, context: Context) -> dict[str, Any]:
        """Run the stage.

        Raises:
            AirflowFailException: an error that no retry can mend: wrong data, wrong parameters.
            AirflowSkipException: the gate refused the challenger; the reasons stand in the message.
        """
        with named_failures():
            params, origin = retrain_params(context), origin_of(context)
            skip_after_rejection(self.upstream)
            if self.approval is not None:
                from pipelines.approval import Approval, approved  # opens stores, which parsing does not need

                origin = approved(origin, Approval.model_validate(self.approval))
            if self.upstream is None:
                check_settings(params)
                shown = params.model_copy(update={"source": redacted(params.source)})
                log.info("%s, asked for by %s", summary(shown.model_dump()), origin.actor)
            places = with_connection(load_settings()).of_shop(params.shop)
            began = time.monotonic()
            contract = run_stage(self.stage, self.upstream, params, origin, places)
            seconds = time.monotonic() - began
        self.told = emit(self.stage, context, params.shop, self.upstream, contract, places)
        if not params.replay:  # a day that is over is no point of today's series
            tell(self.stage, params.shop, contract)
        log.info("%s, %.1f s: %s", self.stage, seconds, summary(contract))
        return contract


def skip_after_rejection(upstream: Mapping[str, Any] | None) -> None:
    """Let nothing run on a verdict that refused the challenger.

    Raises:
        GateRejected: with every check that did not pass.
    """
    if upstream is None or upstream.get("accepted", True):
        return
    reasons = [f"{check['name']}: {check['reason']}" for check in upstream["checks"] if not check["passed"]]
    raise GateRejected("the gate refused the challenger, the live release stays:\n  " + "\n  ".join(reasons))


def retrain_params(context: Context) -> RetrainParams:
    """The run's parameters: the form's, completed from the data interval and never from the clock.

    Raises:
        SettingsError: a parameter is missing or wrong.
    """
    form = {name: value for name, value in context["params"].items() if name not in OF_APPROVAL}
    as_of = form.pop("as_of") or context["dag_run"].data_interval_end
    if as_of is None:
        raise SettingsError(
            "as_of is empty, and a run without a logical date has no data interval to take it from; "
            "trigger again with as_of, for example 2026-11-01T00:00:00+00:00"
        )
    if not form["data"]:
        raise SettingsError("data is empty: give the source's folder or URL in the form, or set VITRINE_SOURCE")
    source = source_of(form.pop("data"))
    # A backfill is about days that are over: whatever the form says, it changes nothing that is live.
    form["replay"] = form.get("replay", False) or context["dag_run"].run_type.value == "backfill"
    form["settings"] = form.get("settings") or {}
    try:
        return RetrainParams.model_validate({"source": source, "as_of": as_of, **form})
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, e['loc']))}={e['input']!r}: {e['msg']}" for e in error.errors())
        raise SettingsError(f"the run's parameters are wrong: {faults}") from error


def origin_of(context: Context) -> Origin:
    """Who asked for this run: goes into tags and release records."""
    run = context["dag_run"]
    return Origin(
        actor=run.triggering_user_name or f"airflow:{run.run_type.value}",
        reason=context["params"]["reason"],
        cause=run.run_type.value,
        dag_id=run.dag_id,
        dag_run_id=run.run_id,
        git_revision=git_revision(),
    )


def summary(contract: Mapping[str, Any]) -> str:
    """A document's own figures on one line, without the documents it holds."""
    own = {
        name: value[:12] if name in ("digest", "bundle") else value
        for name, value in contract.items()
        if name != "key" and value is not None and not isinstance(value, dict | list)
    }
    return ", ".join(f"{name} {value}" for name, value in own.items())

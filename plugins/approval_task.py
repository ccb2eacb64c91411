"""The question to a person between verdict and promotion, as Airflow asks people."""

import logging
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.hitl import ApprovalOperator, HITLOperator
from airflow.sdk import Context, Param

from pipelines.contracts import Verdict
from pipelines.settings import load_settings
from plugins.failures import named_failures
from plugins.mlflow_links import run_address
from plugins.notices import Notice
from plugins.stage_task import origin_of, retrain_params
from plugins.store_connection import with_connection

if TYPE_CHECKING:
    from pipelines.approval import Approval

QUESTION = "May the challenger replace what shoppers see?"

log = logging.getLogger("vitrine")


class ApprovalTask(ApprovalOperator):
    """Asks whether an accepted challenger may be released, where the run's form wants that, and returns the answer.

    A rejection, and a day without an answer (the form says how many hours), skips what follows. Waiting holds no
    worker. Answers stand in MLflow and, rejections, among the refusals of the store.

    Args:
        upstream: the gate's verdict, as that task's output.
        minutes: asking is ended and tried again when it takes longer; the answer may take its time.
        options: any argument of Airflow's BaseOperator.
    """

    template_fields = ("upstream",)  # and not subject and body, which hold what the shop wrote
    ui_color = "#f6e9b8"

    def __init__(self, *, upstream: Any, minutes: float, **options: Any) -> None:
        comment = Param("", type="string", maxLength=2000, title="Comment",
                        description="Goes into the release record, or stands with the rejection.")
        super().__init__(subject=QUESTION, defaults=self.REJECT, response_timeout=timedelta(days=1),
                         notifiers=Notice(f"{QUESTION} Answer under Required Actions."),
                         **{**options, "params": {"comment": comment}})
        self.execution_timeout = timedelta(minutes=minutes)  # of asking; above, Airflow would take it for the answer's
        self.upstream = upstream

    def execute(self, context: Context) -> dict[str, Any]:
        """Ask and wait, or say why nobody is asked.

        Raises:
            AirflowFailException: an error that no retry can mend.
        """
        from pipelines.approval import Approval

        with named_failures():
            form, params = context["params"], retrain_params(context)
            reason = self._needless(form["approval"], params.dry_run, params.replay)
            if reason:
                log.info("approval: nobody is asked: %s", reason)
                return Approval(decision="not asked", comment=reason).model_dump(mode="json")
            self._prepare(with_connection(load_settings()).of_shop(params.shop))
        self.response_timeout = timedelta(hours=form["approval_hours"])
        super().execute(context)
        raise AssertionError("Airflow waits by an exception")

    def execute_complete(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """Record the answer; what follows is skipped after a rejection.

        Raises:
            AirflowFailException: an error that no retry can mend.
        """
        from pipelines.approval import record

        # Not ApprovalOperator's, which ends a rejection by an exception before anything could be recorded.
        answer = self._answer(HITLOperator.execute_complete(self, context, event))
        with named_failures():
            places = with_connection(load_settings()).of_shop(retrain_params(context).shop)
            record(Verdict.model_validate(self.upstream), answer, origin_of(context), places)
        result = answer.model_dump(mode="json")
        if answer.decision == "rejected":
            context["ti"].xcom_push(key="return_value", value=result)  # which a task that skips others does not do
            self.skip(ti=context["ti"], tasks=context["task"].get_direct_relatives(upstream=False))
        return result

    def _needless(self, is_wanted: bool, is_dry_run: bool, is_replay: bool) -> str:
        if not self.upstream["accepted"]:
            return "the gate refused the challenger"
        if is_dry_run or is_replay:
            return f"a {'dry run' if is_dry_run else 'replay'} releases nothing"
        return "" if is_wanted else "the form does not want it"

    def _prepare(self, places: Any) -> None:
        from pipelines.approval_text import evidence

        verdict = Verdict.model_validate(self.upstream)
        self.body = evidence(verdict, places, run_address(self.upstream))

    @staticmethod
    def _answer(payload: Mapping[str, Any]) -> "Approval":
        from pipelines.approval import Approval

        user = payload["responded_by_user"]
        return Approval(
            decision="approved" if payload["chosen_options"] == [ApprovalTask.APPROVE] else "rejected",
            by=user["name"] if user else None, at=payload["responded_at"],
            comment=payload["params_input"].get("comment", ""))

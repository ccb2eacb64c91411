"""Runs stages in forked children, with a fault in each: `python -m tests.faults.stage_server`, JSON lines in and out.

Importing TensorFlow and MLflow takes longer than a stage of the toy shop. They are imported once here and nothing of
them is used before a fork, so that every child is as clean as a process of its own.
"""

import json
import os
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any


def run_in_child(job: dict[str, Any], scratch: Path) -> dict[str, Any]:
    """Run one stage in a child.

    Args:
        job: stage, upstream, params, origin, places; fault, or None; seconds that the child may take.
        scratch: empty folder for what the child tells.

    Returns:
        how ("done", "failed", "killed", "hung" or "late"), contract, error, points, was_hit.
    """
    told, hung = scratch / "told.json", scratch / "hung"
    for path in (told, hung):
        path.unlink(missing_ok=True)
    child = os.fork()
    if child == 0:
        work(job, told, hung)
    ends, status = time.monotonic() + job["seconds"], None
    while status is None:
        done, found = os.waitpid(child, os.WNOHANG)
        if done:
            status = found
        elif hung.exists() or time.monotonic() > ends:
            time.sleep(0.2 if hung.exists() else 0)  # as long as an orchestrator's patience is, in small
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return {"how": "hung" if hung.exists() else "late", "was_hit": hung.exists()}
        else:
            time.sleep(0.01)
    if os.WIFSIGNALED(status):
        return {"how": "killed", "was_hit": os.WTERMSIG(status) == signal.SIGKILL}
    return dict(json.loads(told.read_text()))


def work(job: dict[str, Any], told: Path, hung: Path) -> None:
    """The child: what came of the stage goes to `told`."""
    from pipelines.contracts import Origin
    from pipelines.retrain import RetrainParams, run_stage
    from pipelines.settings import Settings
    from tests.faults.stage_points import Points

    log = os.open(told.parent / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    places = Settings(**job["places"])
    points = Points(places.home, job["fault"], hung)
    points.install()
    answer: dict[str, Any] = {"how": "failed"}
    try:
        contract = run_stage(job["stage"], job["upstream"], RetrainParams(**job["params"]), Origin(**job["origin"]),
                             places)
        answer = {"how": "done", "contract": contract}
    except BaseException as error:
        traceback.print_exc()
        answer["error"] = f"{type(error).__name__}: {error}"
    told.write_text(json.dumps(answer | {"points": points.passed, "was_hit": points.was_hit}))
    os._exit(0)


def main(scratch: Path) -> None:
    """Serve until the input ends."""
    import mlflow.tracking  # noqa: F401
    import obstore  # noqa: F401

    import models.export
    import models.training  # noqa: F401
    import pipelines.evaluate
    import pipelines.features
    import pipelines.gate
    import pipelines.index
    import pipelines.ingest
    import pipelines.promote
    import pipelines.register
    import pipelines.tracking
    import pipelines.train  # noqa: F401

    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        print(json.dumps(run_in_child(json.loads(line), scratch)), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

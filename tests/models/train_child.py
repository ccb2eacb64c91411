"""A training in a process of its own: `python train_child.py JOB`, with the job as JSON.

Writes what the stage returned to the job's `result`. An error that the stage names is printed, and its class is told
by the exit status 9.
"""

import json
import logging
import sys
from pathlib import Path

from pipelines.contracts import Snapshot
from pipelines.errors import WorkerLost
from pipelines.settings import load_settings
from pipelines.train import train
from pipelines.train_settings import TrainSettings


def main(job: dict) -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    snapshot, settings = Snapshot(**job["snapshot"]), TrainSettings(**job["settings"])
    try:
        trained = train(snapshot, settings, Path(job["root"]), load_settings().cluster)
    except WorkerLost as error:
        print(f"WorkerLost: {error}", file=sys.stderr)
        sys.exit(9)
    Path(job["result"]).write_text(trained.model_dump_json())


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))

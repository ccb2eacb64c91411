"""How a model is made again: the command that names everything which decided it."""

import json
import shlex
from collections.abc import Mapping
from typing import Any

from pipelines.contracts import Snapshot
from pipelines.record import flat
from pipelines.train_settings import TrainSettings


def retrain_command(snapshot: Snapshot, features: Mapping[str, Any], train: Mapping[str, Any]) -> str:
    """The `vitrine retrain` that makes a model again without releasing it.

    Args:
        snapshot: what the model was trained on.
        features, train: settings of the two stages by name, groups with dots; what is not the default is said.
    """
    from pipelines.features import FeatureSettings

    window, ingested = snapshot.window, snapshot.ingested
    words = ["vitrine", "retrain", "--data", ingested.source if ingested else snapshot.path,
             "--as-of", f"{window.as_of:%Y-%m-%dT%H:%M:%S}"]
    if window.start is not None:
        words += ["--window-days", str((window.as_of - window.start).days)]
    for stage, settings, default in (("features", features, FeatureSettings()), ("train", train, TrainSettings())):
        usual = flat(default.model_dump(mode="json"))
        words += [word for name, value in sorted(settings.items()) if name not in usual or usual[name] != value
                  for word in ("--set", f"{stage}.{name}={json.dumps(value)}")]
    return shlex.join([*words, "--dry-run"])

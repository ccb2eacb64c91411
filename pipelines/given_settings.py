"""Settings of stages as a person writes them on a command line: STAGE.FIELD=VALUE."""

import json
from collections.abc import Sequence
from typing import Any

from pipelines.errors import SettingsError
from pipelines.retrain import STAGES

# Stages with settings of their own; what ingest and promote need are options.
CONFIGURED = tuple(stage for stage in STAGES if stage not in ("ingest", "promote"))


def parse_settings(pairs: Sequence[str] | None, stages: Sequence[str] = CONFIGURED) -> dict[str, dict[str, Any]]:
    """`stage.field=value` pairs as nested settings; values are JSON where they can be, else text.

    A field may be a group of settings: `train.search.steps=500` is {"train": {"search": {"steps": 500}}}.

    Raises:
        SettingsError: a pair has another form, names none of `stages`, or a group that another pair gives a value.
    """
    found: dict[str, dict[str, Any]] = {}
    for pair in pairs or ():
        name, equals, value = pair.partition("=")
        stage, *groups = name.split(".")
        if not (equals and groups and all(groups) and stage in stages):
            raise SettingsError(f"--set {pair}: write STAGE.FIELD=VALUE, for example train.dimension=32; "
                                f"the stage here is {' or '.join(stages)}")
        place = found.setdefault(stage, {})
        for group in groups[:-1]:
            place = place.setdefault(group, {})
            if not isinstance(place, dict):
                raise SettingsError(f"--set {pair}: {group} has the value {place!r} by another --set; give one of them")
        try:
            place[groups[-1]] = json.loads(value)
        except ValueError:
            place[groups[-1]] = value
    return found

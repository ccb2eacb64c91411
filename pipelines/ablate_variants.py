"""What an ablation leaves out or changes, each by itself."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from pipelines.errors import SettingsError
from pipelines.train_settings import TrainSettings

DEFAULT = "all choices as they are"
_OTHERS = {"refit", "search", "pictures"}  # what comes after the towers are trained on train


@dataclass(frozen=True)
class Variant:
    """The training with some fields of its settings changed; the default has no changes."""

    changes: Mapping[str, Any]
    about: str
    settings: TrainSettings

    @property
    def fields(self) -> dict[str, Any]:
        """The settings that decide the towers, as JSON."""
        return self.settings.model_dump(mode="json", exclude=_OTHERS)

    @property
    def name(self) -> str:
        """What is changed, as a person types it: dropout=0.3,blocks=1."""
        return ",".join(f"{name}={json.dumps(value)}" for name, value in self.changes.items()) or "default"


def built_in(base: TrainSettings, items: int) -> list[Variant]:
    """The default and each choice without it; what `base` does without already is not among them.

    Args:
        base: of the default.
        items: of the catalogue, which decide how the softmax is formed.
    """
    other_softmax: tuple[dict[str, Any], str] = (
        ({"full_softmax_below": 0}, "softmax over a sample of the items, as for a large catalogue")
        if items <= base.full_softmax_below else
        ({"full_softmax_below": items}, "softmax over all items, as for a small catalogue"))
    tried: list[tuple[dict[str, Any], str]] = [
        ({}, DEFAULT),
        ({"seed": base.seed + 1000}, "another random start: how far luck goes"),
        ({"members": 1}, "one member"),
        ({"blocks": 0}, "no transformer: bags of the history and the last visit"),
        ({"dimension": base.dimension // 2}, "vectors of half the length"),
        ({"id_dropout": 0.0}, "id embeddings are never left out"),
        ({"calendar_dropout": 1.0}, "month, weekday and hour of a question say nothing"),
        ({"dropout": 0.0}, "no dropout in the user tower"),
        ({"average_decay": 0.0}, "weights of the last step instead of their average"),
        ({"newcomer_budget": 0.0}, "nothing is spent for showing new items as often as known ones"),
        other_softmax,
    ]
    if base.dimension < 8 or base.dimension // 2 % base.heads:
        tried = [(changes, about) for changes, about in tried if "dimension" not in changes]  # no half is allowed
    return [Variant(changes, about, base.model_copy(update=changes)) for changes, about in tried
            if not changes or any(getattr(base, name) != value for name, value in changes.items())]


def chosen(base: TrainSettings, texts: Sequence[str]) -> list[Variant]:
    """The default and variants of a person's own, each as `FIELD=VALUE` or `FIELD=VALUE,FIELD=VALUE`.

    Raises:
        SettingsError: a text has another form, names no setting of the training, or changes nothing.
    """
    found = [Variant({}, DEFAULT, base)]
    for text in texts:
        changes: dict[str, Any] = {}
        for pair in text.split(","):
            name, equals, value = (part.strip() for part in pair.partition("="))
            if not equals or name not in TrainSettings.model_fields or name in _OTHERS:
                raise SettingsError(f"--variant {text}: write FIELD=VALUE of the training's settings, several with "
                                    "commas, for example dropout=0.3,blocks=1")
            try:
                changes[name] = json.loads(value)
            except ValueError as error:
                raise SettingsError(f"--variant {text}: the value {value!r} is no number, true or false") from error
        try:
            settings = TrainSettings(**{**base.model_dump(), **changes})
        except ValidationError as error:
            faults = "; ".join(f"{'.'.join(map(str, e['loc']))} = {e['input']!r}: {e['msg']}" for e in error.errors())
            raise SettingsError(f"--variant {text}: {faults}") from error
        variant = Variant(changes, "", settings)
        if settings in [before.settings for before in found]:
            raise SettingsError(f"--variant {text}: the same as the default or as another variant; leave it out")
        found.append(variant)
    return found

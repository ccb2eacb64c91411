"""Who was shown what by which variant."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Exposure:
    """An answer to a user of an experiment. `time_us` is in microseconds since 1970, UTC."""

    experiment: str
    version: int
    variant: str
    user_id: str
    time_us: int
    release: int
    item_ids: tuple[str, ...]

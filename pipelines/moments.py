"""Instants as logs and files have them: microseconds since 1970, UTC, as whole numbers."""

from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def microseconds(moment: datetime) -> int:
    """An instant as a number, exact to the last microsecond: a float of seconds would not hold them."""
    return (moment - EPOCH) // timedelta(microseconds=1)


def moment_of(time_us: int) -> datetime:
    """The instant of a number."""
    return EPOCH + timedelta(microseconds=time_us)

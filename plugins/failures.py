"""Which failures of a task are worth a retry, and which end it at once."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from pipelines.errors import GateRejected, VitrineError

log = logging.getLogger("vitrine")


@contextmanager
def named_failures() -> Iterator[None]:
    """Turn Vitrine's errors into Airflow's.

    Raises:
        AirflowFailException: an error that no retry can mend: wrong data, wrong parameters.
        AirflowSkipException: the gate refused the challenger; the reasons stand in the message.
        VitrineError: any other of them, for a retry.
    """
    try:
        yield
    except GateRejected as error:
        log.warning("%s", error)
        raise AirflowSkipException(str(error)) from error
    except VitrineError as error:
        log.error("%s: %s", type(error).__name__, error)
        if error.is_retryable:
            raise
        raise AirflowFailException(f"{type(error).__name__}: {error}") from error

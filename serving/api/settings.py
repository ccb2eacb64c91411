"""Bounds of the HTTP process."""

from pydantic import Field

from pipelines.contracts import Document

KIB = 1024


class ApiSettings(Document):
    """How much one process takes on.

    Attributes:
        threads: that answer; a question takes one.
        max_in_flight: questions that are answered or wait for a thread; beyond it 503 with Retry-After.
        timeout_s: a question that is not answered by then is given up with 503.
        body_timeout_s: a body that has not arrived by then is refused with 408.
        max_body: bytes of a JSON body; beyond it 413.
        max_image: bytes of an uploaded picture.
        retry_after_s: what Retry-After says.
    """

    threads: int = Field(4, ge=1, le=64)
    max_in_flight: int = Field(64, ge=1)
    timeout_s: float = Field(2.0, gt=0)
    body_timeout_s: float = Field(5.0, gt=0)
    max_body: int = Field(256 * KIB, ge=KIB)
    max_image: int = Field(8 * KIB * KIB, ge=KIB)
    retry_after_s: int = Field(1, ge=1)

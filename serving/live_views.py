"""The live release, as the service asks for it, and one view of it at a time."""

from threading import Lock
from typing import Protocol

from serving.live_status import Status
from serving.recommender import Recommender
from serving.view import ReleaseView


class Record(Protocol):
    """What is asked of a release's record."""

    @property
    def number(self) -> int:
        """Its number in the release log."""


class LiveRelease(Protocol):
    """A release that was checked, opened and warmed."""

    @property
    def release(self) -> Record:
        """Its record."""

    @property
    def recommender(self) -> Recommender:
        """What answers."""


class Live(Protocol):
    """Whatever holds the live release; `serving.live.Live` does."""

    def served(self) -> LiveRelease:
        """The release that answers now.

        Raises:
            NothingLive: there is none.
        """

    def status(self) -> Status:
        """What answers, what was refused, and what is in the way."""


class Views:
    """The view of the release that answers, made once; a swap makes another."""

    def __init__(self) -> None:
        self._view: ReleaseView | None = None
        self._lock = Lock()

    def of(self, served: LiveRelease) -> ReleaseView:
        """The view of a release."""
        view = self._view
        if view is None or not _is_of(view, served):
            with self._lock:
                view = self._view
                if view is None or not _is_of(view, served):
                    # Questions that are being answered hold their own view: the old one need not be kept for them.
                    view = self._view = ReleaseView(served.release.number, served.recommender)
        return view


def _is_of(view: ReleaseView, served: LiveRelease) -> bool:
    return view.recommender is served.recommender and view.number == served.release.number

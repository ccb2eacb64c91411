"""The live release, as the service asks for it, and one view of it at a time."""

from threading import Lock
from typing import Protocol

from pipelines.errors import VitrineError
from serving.recommender import Recommender
from serving.view import ReleaseView


class NoRelease(VitrineError):
    """There is no live release to answer with."""


class LiveRelease(Protocol):
    """A release that was checked, opened and warmed."""

    @property
    def number(self) -> int:
        """Its number in the release log."""

    @property
    def recommender(self) -> Recommender:
        """What answers."""


class Live(Protocol):
    """Whatever holds the live release."""

    def current(self) -> LiveRelease | None:
        """The live release, or None before the first."""


class Views:
    """The view of each release that answers, made once; those that no longer answer are let go."""

    def __init__(self, live: Live) -> None:
        self.live = live
        self._views: dict[int, ReleaseView] = {}
        self._lock = Lock()

    def of(self, release: LiveRelease) -> ReleaseView:
        """The view of a release."""
        view = self._views.get(release.number)
        if view is not None and view.recommender is release.recommender:
            return view
        with self._lock:
            view = self._views.get(release.number)
            if view is None or view.recommender is not release.recommender:
                view = ReleaseView(release.number, release.recommender)
                # Questions that are being answered hold their own view: nothing older need be kept for them.
                self._views = {release.number: view}
            return view

"""Everything that an answer needs, without HTTP: the live release, the session store and the rules of the house.

The API and the storefront are thin over it. Every answer is of one release, whatever is promoted meanwhile.
"""

import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from pipelines.contracts import Document
from pipelines.errors import NothingLive, Unanswerable
from pipelines.moments import microseconds
from serving import answers, questions
from serving.asked import Asked, UnknownItem, Written
from serving.chosen import Chosen, choose
from serving.discover.discovery import Discovery, discover
from serving.encoding import Floats, History
from serving.erased_watch import Erasures
from serving.experiments.following import Part, Running
from serving.filters import Filters, rows_of
from serving.finder import Found
from serving.live_views import Live, Views
from serving.merchandising import POOL
from serving.profile import profile_of
from serving.recommender import Request, empty_history
from serving.rules import NO_RULES, Rules
from serving.sessions.contract import SessionStore
from serving.shoppers import Landing, Shoppers
from serving.view import ReleaseView

NO_FILTERS = Filters()


class ServiceSettings(Document):
    """How answers are made.

    Attributes:
        pool: candidates a place that rules choose from.
        availability_seconds: how old what is known of availability may be, where several processes share a store.
    """

    pool: int = POOL
    availability_seconds: float = 0.5


class Service:
    """Answers questions; safe for use by many threads."""

    def __init__(
        self, live: Live, sessions: SessionStore, settings: ServiceSettings | None = None,
        landing: Landing | None = None, rules: Rules = NO_RULES,
        experiment: Callable[[], Running | None] = lambda: None, erasures: Erasures | None = None,
    ) -> None:
        """Serve from what is live.

        Args:
            live: holds the live release.
            sessions: what is known of shoppers.
            settings: how answers are made.
            landing: where events are laid down; None for nowhere.
            rules: of merchandising, that hold for recommendations whose request says none.
            experiment: what runs, in which recommendations to a user take part unless they bring rules of their own.
            erasures: who is nobody; None where nobody was ever erased.
        """
        self.live, self.settings = live, settings or ServiceSettings()
        self.views, self.rules, self.experiment = Views(), rules, experiment
        self.shoppers = Shoppers(sessions, landing, self.settings.availability_seconds, erasures)

    def recommend(self, question: questions.Recommend) -> answers.Slate:
        """What for this shopper: known, new or anonymous, all go the same way.

        Raises:
            DataError: a filter names a column that the release does not have, or an event lies in the future.
            NothingLive: nothing was promoted yet.
        """
        part = self._part(question)
        chosen = self._chosen(question, part)
        asked, found = chosen.asked, chosen.found
        reasons = asked.view.reasons.of(chosen.vector, chosen.history, found.rows) if question.explain else None
        answer = asked.slate(found, chosen.history, chosen.spare, reasons, chosen.pinned)
        if part is None or question.user_id is None:
            return answer
        if asked.is_now:  # what would have been at another moment was shown to nobody
            self.shoppers.expose(part.exposure(question.user_id, answer, asked.now_us), asked.notices)
        return answer.model_copy(update={"variant": part.variant.name, "notices": tuple(asked.notices)})

    def written(self, question: questions.Recommend) -> Written:
        """`recommend` as it is sent, for a question that `is_quick`.

        Raises:
            DataError, NothingLive: as `recommend`.
        """
        chosen = self._chosen(question, None)
        return chosen.asked.written(chosen.found, chosen.history, chosen.spare)

    def _chosen(self, question: questions.Recommend, part: Part | None) -> Chosen:
        asked = self._asked(question, part.view if part is not None else None)
        history, vector = self._shopper(asked, question)
        return choose(asked, question, history, vector, self._rules(asked, question, part), self.settings.pool)

    def is_quick(self, question: questions.Recommend) -> bool:
        """Whether this is answered in about a millisecond whatever else goes on: nothing waits for a network, a disk
        or a writer, and nothing looks at the whole catalogue."""
        asks_more = question.filters != NO_FILTERS or question.diversity or question.explain
        if asks_more or question.rules is not None or self.rules != NO_RULES or self.experiment() is not None:
            return False
        return self.shoppers.sessions.is_embedded and self.view().is_quick

    def similar(self, item_id: str, k: int = 20, filters: Filters = NO_FILTERS) -> answers.Slate:
        """What is like this item.

        Raises:
            UnknownItem: the live release does not know it.
        """
        asked = self._asked()
        row = asked.row(item_id)
        vector = asked.view.bundle.item_vectors[row, :-1]
        found = asked.view.similar(vector, k, asked.allowed(filters),
                                   np.union1d(asked.never(filters), [row]))
        return asked.slate(found)

    def search(self, question: questions.Search) -> answers.Slate:
        """What typed words ask for, mixed with the shopper's taste where `personal` is above 0.

        Raises:
            DataError: the text holds no letter and no digit.
            Unanswerable: no product of the shop has words.
        """
        asked = self._asked(question)
        history, personal = empty_history(), None
        if question.personal:
            history, personal = self._shopper(asked, question)
        query = asked.view.query_vector(question.text)
        if personal is not None:
            query = asked.view.blended(query, personal, question.personal)
        assert asked.view.words is not None
        found = asked.view.words.find(query, question.k, asked.allowed(question.filters),
                                      asked.never(question.filters))
        return asked.slate(found, history)

    def discover(self, question: questions.Discover) -> Discovery:
        """What a wish in words asks for; a follow-up refines what the same user asked before.

        Raises:
            DataError: a filter names a column that the release does not have.
        """
        asked = self._asked(question)
        history, taste = self._shopper(asked, question)
        before = self.shoppers.conversation(question.user_id if question.follow_up else None, asked.notices)
        answer, after = discover(asked, question, before, history, taste)
        is_remembered = self.shoppers.remember(question.user_id, after, asked.notices)
        return answer.model_copy(update={"is_remembered": is_remembered, "notices": tuple(asked.notices)})

    def search_image(self, data: bytes, k: int = 20, filters: Filters = NO_FILTERS) -> answers.Slate:
        """Whose picture is most like this image file (PNG, JPEG, ...).

        Raises:
            DataError: the bytes are no image, or too large a one.
            Unanswerable: the shop has no pictures, or too few to learn from.
        """
        asked = self._asked()
        view, pictures = asked.view, asked.view.recommender.pictures
        if pictures is None or view.pictures is None:
            raise Unanswerable(f"this release cannot be searched by a picture: {view.bundle.doors.pictures.closed}")
        mask = asked.allowed(filters)
        hidden = np.flatnonzero(np.isin(pictures.rows, asked.never(filters))).astype(np.int64)
        found = view.pictures.find(pictures.encoder.from_bytes(data), k, None if mask is None else mask[pictures.rows],
                                   hidden)
        return asked.slate(Found(pictures.rows[found.rows], found.scores, found.how, found.allowed))

    def basket(self, item_ids: Sequence[str], k: int = 20, filters: Filters = NO_FILTERS) -> answers.Slate:
        """What goes with these items; those that the release does not know say nothing.

        Raises:
            UnknownItem: it knows none of them.
        """
        asked = self._asked()
        view = asked.view
        rows = rows_of(tuple(item_ids), view.bundle)
        if not len(rows):
            raise UnknownItem(f"item_ids: release {view.number} knows none of these {len(item_ids)} items")
        if len(rows) < len(item_ids):
            asked.notices.append(f"{len(item_ids) - len(rows)} items that this release does not know were left out")
        code = view.type_codes[view.purchase_types[0]]
        history = History(rows.astype(np.int32), np.full(len(rows), asked.now_us), np.full(len(rows), code, np.int16),
                          np.ones(len(rows), np.float32))
        nobody = view.user_tokens({})
        vector = view.recommender.vectors([Request(history, asked.now_us, nobody)])[0]
        found = view.shoppers.find(vector, k, asked.allowed(filters),
                                   np.union1d(asked.never(filters), rows))
        return asked.slate(found, history)

    def item(self, item_id: str) -> answers.Detail:
        """All that the release says of an item.

        Raises:
            UnknownItem: the live release does not know it.
        """
        asked = self._asked()
        view = asked.view
        row = asked.row(item_id)
        plain = view.item(row, 0.0)
        return answers.Detail(
            release=view.number, item_id=item_id, is_available=not np.isin(row, asked.gone), title=plain.title,
            category=plain.category, brand=plain.brand, price=plain.price, image_url=plain.image_url,
            attributes=view.catalogue.shown(row))

    def categories(self) -> answers.Categories:
        """Categories of the live release, the largest first; none where its items have none."""
        view = self._asked().view
        name = view.catalogue.category
        if name is None:
            return answers.Categories(release=view.number, categories=())
        labels = view.catalogue.labels(name)
        order = np.argsort(-labels.counts, kind="stable")
        return answers.Categories(release=view.number, categories=tuple(
            answers.Category(name=labels.values[code], items=int(labels.counts[code])) for code in order))

    def live_release(self) -> answers.LiveReleaseInfo:
        """Which release answers, and what it can be asked."""
        view = self._asked().view
        bundle = view.bundle
        return answers.LiveReleaseInfo(
            release=view.number, bundle=bundle.digest, model_version=view.model_version,
            as_of=bundle.provenance.get("as_of"), items=bundle.num_items, event_types=tuple(view.event_types),
            label_columns=view.catalogue.label_columns, number_columns=view.catalogue.number_columns,
            search=bundle.doors.search.closed, pictures=bundle.doors.pictures.closed)

    def view(self) -> ReleaseView:
        """What the live release holds, for pages that show it.

        Raises:
            NothingLive: nothing was promoted yet.
        """
        return self.views.of(self.live.served())

    def warm(self) -> None:
        """Make ready what the first answer of the live release would wait for."""
        asked = self._asked()
        _ = asked.view.lexicon  # reads all labels
        for name in asked.view.catalogue.number_columns:
            asked.view.catalogue.numbers(name)
        self.recommend(questions.Recommend(k=1))

    def add_events(self, events: questions.NewEvents) -> answers.Accepted:
        """Keep events for the next answers and for the next retrain; see `Shoppers.add_events`."""
        return self.shoppers.add_events(events)

    def identify(self, merge: questions.Identify) -> answers.Merged:
        """Make two ids one customer; see `Shoppers.identify`."""
        return self.shoppers.identify(merge)

    def separate(self, merge_id: str) -> answers.Merged:
        """Undo a merge; see `Shoppers.separate`."""
        return self.shoppers.separate(merge_id)

    def forget(self, user_id: str, actor: str, reason: str) -> answers.Forgotten:
        """Erase a user; see `Shoppers.forget`."""
        return self.shoppers.forget(user_id, actor, reason)

    def set_availability(self, items: Mapping[str, bool]) -> answers.AvailabilityChanged:
        """Say what can be bought from now on; see `Shoppers.set_availability`."""
        try:
            view = self.views.of(self.live.served())
        except NothingLive:
            view = None
        return self.shoppers.set_availability(items, view)

    def _asked(self, shopper: questions.Shopper | None = None, view: ReleaseView | None = None) -> Asked:
        started, notices = time.perf_counter(), list[str]()
        view = view or self.view()
        at = shopper.time if shopper is not None else None
        now_us = time.time_ns() // 1000 if at is None else microseconds(at)
        return Asked(view, view.gone(self.shoppers.availability(notices)), notices, started, now_us, at is None)

    def _part(self, question: questions.Recommend) -> Part | None:
        running = self.experiment() if question.user_id is not None and question.rules is None else None
        return running.part_of(question.user_id) if running is not None and question.user_id is not None else None

    def _rules(self, asked: Asked, question: questions.Recommend, part: Part | None) -> Rules:
        """The request's rules, else the variant's or the shop's as far as the release has their columns."""
        own = part.variant.rules if part is not None and part.variant.rules is not None else self.rules
        rules, notices = (question.rules, []) if question.rules is not None else own.of(asked.view.catalogue)
        asked.notices.extend(notices)
        return rules.model_copy(update={"diversity": question.diversity}) if question.diversity else rules

    def _shopper(self, asked: Asked, shopper: questions.Shopper) -> tuple[History, Floats]:
        """History and vector [D] of who asks."""
        view = asked.view
        stored = self.shoppers.history(shopper.user_id, asked.notices)
        profile = profile_of(view, stored, self.shoppers.recent(shopper), asked.now_us, asked.is_now)
        asked.notices.extend(profile.left_out)
        request = Request(profile.history, asked.now_us, view.user_tokens(shopper.user_features))
        return profile.history, view.recommender.vector(request)

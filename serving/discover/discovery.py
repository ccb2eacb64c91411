"""An answer to a wish in words, and how the words were understood."""

import numpy as np
from pydantic import ConfigDict

from serving import questions
from serving.answers import Slate
from serving.asked import Asked
from serving.catalogue import Bools
from serving.discover.dialogue import REMEMBERED, Conversation, turn
from serving.discover.reading import Part, Unheard, read
from serving.discover.wish import Relaxed, Wish, met
from serving.encoding import Floats, History
from serving.finder import Found
from serving.view import ReleaseView


class Discovery(Slate):
    """A slate, with what was understood.

    Attributes:
        wish: all that is asked for by now, over the whole conversation.
        parts: what was understood of this text.
        unheard: what nothing was done about, and why.
        relaxed: conditions that hold no more, because nothing met all of them.
        is_follow_up: the text refined what was asked before.
        is_remembered: a follow-up will refine this.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [{
        "release": 42, "model_version": "17", "latency_ms": 1.4, "is_follow_up": False, "is_remembered": True,
        "filtered": {"catalogue": 2000, "allowed": 9, "search": "exact"},
        "items": [{"item_id": "P-00012", "score": 2.3, "title": "Evening clutch", "category": "Bags", "price": 480.0}],
        "wish": {"wanted": {"colour": ["black"]}, "unwanted": {"material": ["calf leather"]}, "high": 500.0},
        "parts": [{"start": 0, "end": 5, "said": "black", "kind": "label", "column": "colour", "labels": ["black"]}],
        "unheard": [], "relaxed": []}]})

    wish: Wish
    parts: tuple[Part, ...]
    unheard: tuple[Unheard, ...]
    relaxed: tuple[Relaxed, ...]
    is_follow_up: bool
    is_remembered: bool = False


def discover(
    asked: Asked, question: questions.Discover, before: Conversation, history: History, taste: Floats
) -> tuple[Discovery, Conversation]:
    """Answer a wish, and say what a follow-up has to know.

    Args:
        asked: the question's release, and what can be bought.
        question: the wish.
        before: the conversation until now.
        history, taste: the shopper's history and vector [D].

    Raises:
        DataError: the caller's own filters name a column that the release does not have.
    """
    view, catalogue = asked.view, asked.view.catalogue
    base = _base(asked, question)
    turned = turn(before, read(question.text, view.lexicon), catalogue, base, question.item_id)
    wish, unheard = turned.wish, list(turned.unheard)
    if wish.like is not None:
        base[view.bundle.rows[wish.like]] = False
    mask, relaxed = met(wish, catalogue, base, question.k)
    query = _query(view, wish, taste, question.personal, unheard)
    never = np.zeros(0, np.int64)  # left out of the mask already
    found = (view.shoppers if len(query) == len(taste) or view.words is None else view.words).find(
        query, question.k, mask, never) if mask.any() else Found(never, np.zeros(0, np.float32), "exact", 0)
    if not len(found.rows):
        asked.notices.append("nothing is left by the request's filters, by what is not wanted and by what can be "
                             "bought: ask for less")
    slate = asked.slate(found, history)
    shown = tuple(item.item_id for item in slate.items[:REMEMBERED])
    answer = Discovery(**{name: getattr(slate, name) for name in Slate.model_fields}, wish=wish, parts=turned.parts,
                       unheard=tuple(unheard), relaxed=relaxed, is_follow_up=turned.is_follow_up)
    return answer, Conversation(wish=wish, shown=shown)


def _base(asked: Asked, question: questions.Discover) -> Bools:
    """Mask [items] of what the request lets through and can be bought."""
    found = asked.allowed(question.filters)
    base = np.ones(asked.view.catalogue.items, bool) if found is None else found.copy()
    base[asked.never(question.filters)] = False
    return base


def _query(view: ReleaseView, wish: Wish, taste: Floats, personal: float, unheard: list[Unheard]) -> Floats:
    """Query vector [D + S] of a wish and a shopper, [D] where neither words nor an item are asked for."""
    said: list[Floats] = []
    if wish.text and view.bundle.text is None:
        unheard.append(Unheard(said=wish.text, why="this release cannot be searched by words: "
                                                   f"{view.bundle.doors.search.closed}"))
    elif wish.text and view.bundle.text is not None:
        said.append(view.bundle.text.encoder.vector(wish.text))
    if wish.like is not None:
        said.append(view.likeness(view.bundle.rows[wish.like]))
    if not said:
        return taste
    return view.mixed([(taste, personal), *((vector, (1 - personal) / len(said)) for vector in said)])

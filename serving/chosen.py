"""What a shopper is recommended, before it is put into words: by score and by rules, full wherever it can be."""

from dataclasses import dataclass

import numpy as np

from serving import questions
from serving.asked import Asked
from serving.encoding import Floats, History
from serving.finder import Found
from serving.merchandising import arranged
from serving.profile import seen
from serving.retriever import distinct
from serving.rules import Rules


@dataclass(frozen=True)
class Chosen:
    """Items for one shopper."""

    asked: Asked
    history: History
    vector: Floats  # [D] of the shopper
    found: Found  # the last `spare` of it best-sellers
    spare: int
    pinned: frozenset[int]  # rows


def choose(
    asked: Asked, question: questions.Recommend, history: History, vector: Floats, rules: Rules, pool: int
) -> Chosen:
    """The items that a question is answered with.

    Args:
        asked: the question's release, and its notices, which may grow.
        question: what is asked.
        history, vector: of the shopper; the vector is [D].
        rules: that hold for it.
        pool: candidates a place that rules choose from.

    Raises:
        DataError: a filter names a column that the release does not have.
    """
    view, filters = asked.view, question.filters
    never, mask = asked.never(filters), asked.allowed(filters)
    hidden = distinct(never, seen(view, history, question.exclude_seen))
    placed = arranged(view, vector, history, question.k, mask=mask, never=hidden, rules=rules, pool=pool)
    found, missing = placed.found, question.k - len(placed.found.rows)
    if missing and rules.leaves_out:
        asked.notices.append(f"{missing} of {question.k} places stay empty: no cap or price band is broken to fill "
                             "them")
        missing = 0
    if not missing:
        return Chosen(asked, history, vector, found, 0, placed.pinned)
    # A shopper who has everything that is allowed still gets a full slate, which says what it is.
    spare = asked.best_sellers(missing, mask, np.concatenate([never, found.rows]))
    scores = np.concatenate([found.scores, view.bundle.item_vectors[spare] @ vector])
    found = Found(np.concatenate([found.rows, spare]), scores, found.how, found.allowed)
    return Chosen(asked, history, vector, found, len(spare), placed.pinned)

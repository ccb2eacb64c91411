"""The best that any recommender can reach on the sample shop, from the shop's own truth.

Definition. Evaluated are the events of sessions that began in the last `LAST_DAYS` days and in which a customer
meets a product for the first time. For each, products are ranked by the probability that the customer chooses them,

    P(product) = sum over themes of P(theme | earlier choices of this session) P(product | theme),

where P(product | theme) is the true softmax over the products on sale that the customer does not own and has not yet
looked at in this session, its logits the true taste + popularity + season + theme, and P(theme | ...) is the exact
posterior by Bayes' rule: the prior is the customer's own theme odds of that day, the evidence all choices at strictly
earlier times of the session (in a store basket all choices share one instant: there is no evidence). Products that
the customer met at strictly earlier times are removed. recall@10 is the share of events whose product stands in the
first ten. Online sessions are made choice by choice, so there no ranker that knows less can be better, in
expectation; `expected_recall@10` is that expectation, from the probabilities themselves.

Slices: `new_item`, products without any event before those days; `new_user`, customers without any earlier event;
`online`, events of online sessions.

`segment_only` is the same ranker with the customer's own part of tastes and theme odds left out: what the known
features of a customer can tell at best. `popularity` ranks by views, carts and purchases before those days.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from pipelines.sample.behaviour import Demand, Session
from pipelines.sample.catalogue import DAY, ENDS
from pipelines.sample.customers import Customers

LAST_DAYS = 14
K = 10
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def predict(
    session: Session, taste: Floats, demand: Demand, theme_logits: Floats,
) -> list[tuple[int, Floats]]:
    """(choice, P(product) [products]) of each first meeting of a session; 0 for products that are removed."""
    day = session.starts // DAY * DAY
    logits = (taste + demand.on_day(day))[None, :] + demand.theme
    logits[:, demand.catalogue.available_from > session.starts] = -np.inf
    logits[:, session.owned] = -np.inf
    # One shift a theme keeps every ratio within it.
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    left = odds.sum(axis=1)
    posterior = np.log(demand.theme_odds(theme_logits, day))
    is_met = np.zeros(odds.shape[1], bool)
    is_met[session.met] = True
    is_old = is_met.copy()
    answers = []
    for item in session.chosen:
        if not is_old[item]:
            weights = np.exp(posterior - posterior.max())
            chance = np.asarray((weights / left) @ odds)
            chance[is_met] = 0.0
            answers.append((int(item), chance / chance.sum()))
        if not session.is_store:
            posterior = posterior + np.log(odds[:, item] / left)
            left = left - odds[:, item]
            odds[:, item] = 0.0
            is_met[item] = True
    return answers


def _figures(hits: npt.NDArray[np.bool_]) -> dict[str, float | int]:
    if not len(hits):
        return {"events": 0}
    return {"events": len(hits), "recall@10": round(float(hits.mean()), 5)}


def measure(
    customers: Customers, demand: Demand, sessions: list[Session], counts: Ints, rows_before: Ints,
) -> dict[str, Any]:
    """The truth of a shop.

    Args:
        customers: who they are.
        demand: what they share.
        sessions: all of them.
        counts: [products] views, carts and purchases before the last `LAST_DAYS` days.
        rows_before: [products] events of any type before those days; 0 makes a new item.
    """
    cut = ENDS - LAST_DAYS * DAY
    hit: dict[str, list[bool]] = {"best": [], "segment_only": [], "popularity": []}
    expected: list[float] = []
    is_new_item: list[bool] = []
    is_new_user: list[bool] = []
    is_online: list[bool] = []
    for session in sessions:
        if session.starts < cut:
            continue
        user = session.user
        for n, name in enumerate(("segment_only", "best")):
            taste = customers.taste(user, demand.catalogue, is_own=name == "best")
            for item, chance in predict(session, taste, demand, customers.occasions[user, :, n]):
                top = np.argpartition(-chance, K)[:K]
                hit[name].append(item in top)
                if name == "best":
                    expected.append(float(chance[top].sum()))
                    # What may still be met is exactly what has a chance.
                    popular = np.argpartition(-np.where(chance > 0, counts, -1), K)[:K]
                    hit["popularity"].append(item in popular)
                    is_new_item.append(rows_before[item] == 0)
                    is_new_user.append(not len(session.met) and (session.is_store or item == session.chosen[0]))
                    is_online.append(not session.is_store)
    best, online = np.array(hit["best"], bool), np.array(is_online, bool)
    return {
        **_figures(best),
        "slices": {
            "new_item": _figures(best[np.array(is_new_item, bool)]),
            "new_user": _figures(best[np.array(is_new_user, bool)]),
            "online": {**_figures(best[online]),
                       "expected_recall@10": round(float(np.array(expected)[online].mean()), 5)},
        },
        "segment_only": _figures(np.array(hit["segment_only"], bool)),
        "popularity": _figures(np.array(hit["popularity"], bool)),
    }

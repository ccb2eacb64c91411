"""How a wish was understood, as sentences of a page."""

from serving.discover.discovery import Discovery
from serving.discover.wish import Relaxed, Wish
from serving.storefront.cards import money


def told(answer: Discovery, currency: str | None) -> list[str]:
    """What is asked for by now, what had to be given up, and what nothing was done about."""
    asked = _asked(answer.wish, currency)
    item = {one.item_id: one.title for one in answer.items}
    if answer.wish.like is not None:
        asked.append(f"like {item.get(answer.wish.like) or answer.wish.like}")
    lines = [f"Understood: {' · '.join(asked)}." if asked else "Nothing to choose by was recognised."]
    lines += [_given_up(relaxed, currency) for relaxed in answer.relaxed]
    lines += [f"“{one.said}”: {one.why}." for one in answer.unheard]
    return lines


def _asked(wish: Wish, currency: str | None) -> list[str]:
    asked = [f"{column.replace('_', ' ')} {' or '.join(labels)}" for column, labels in wish.wanted.items()]
    asked += [f"not {', not '.join(labels)}" for labels in wish.unwanted.values()]
    if wish.low is not None or wish.high is not None:
        asked.append(_bounds(wish.low, wish.high, currency))
    return [*asked, f"“{wish.text}”"] if wish.text else asked


def _bounds(low: float | None, high: float | None, currency: str | None) -> str:
    if low == high:
        return str(money(low, currency))
    if low is None or high is None:
        return f"up to {money(high, currency)}" if low is None else f"from {money(low, currency)}"
    return f"{money(low, currency)} to {money(high, currency)}"


def _given_up(relaxed: Relaxed, currency: str | None) -> str:
    if relaxed.labels:
        return f"Nothing meets all of it: {relaxed.column.replace('_', ' ')} {' or '.join(relaxed.labels)} is left out."
    asked = _bounds(relaxed.low, relaxed.high, currency)
    if relaxed.now_low is None:
        return f"Nothing meets all of it: the price ({asked}) is left out."
    return f"Nothing costs {asked}: what comes nearest costs {_bounds(relaxed.now_low, relaxed.now_high, currency)}."

"""How the customers of the sample shop behave: sessions with a theme, baskets, returns.

Every choice is a softmax over the products on sale that the customer does not own and has not yet looked at in
this session, with logits = taste + popularity + season + theme (`Demand`).
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pipelines.sample.catalogue import COLLECTION_NAMES, DAY, ENDS, Catalogue
from pipelines.sample.customers import Customers, category_warmth
from pipelines.sample.words import COLLECTIONS, OCCASIONS

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
SECOND = 1_000_000
HOUR = 3600 * SECOND
LONGEST = 2 * HOUR  # no session lasts so long: none runs past the end of the log

MAIN_OCCASION, SECOND_OCCASION = 4.0, 2.5  # logits of products that suit the session's theme
NOVELTY = 0.8  # logits of a product on its first day; fades with a time constant of three weeks
MORE_VIEWS, MORE_IN_BASKET = 4.2, 1.0  # mean numbers beyond the first
STORE_SHARE = (0.0, 1.0, 0.4)  # of the sessions, by the customer's channel
RETURNED = {"online": 0.16, "store": 0.06}
SESSION_EVENTS = 5.15  # mean events of a session, measured once; sets how many sessions make up the log
_MIDSUMMER = 172  # day of the year
# Weights of the hours of a day (UTC) and of the days of a week (Sunday first, as the log begins).
_HOURS = np.array([1, 1, 1, 1, 1, 1, 2, 3, 4, 6, 8, 9, 10, 9, 8, 8, 9, 10, 12, 13, 14, 12, 7, 3], float)
_DAYS = np.array([1.4, 0.9, 0.9, 1.0, 1.0, 1.2, 1.6])


@dataclass(frozen=True)
class Demand:
    """What all customers share: popularity of products, seasons, and what suits a theme."""

    catalogue: Catalogue
    popularity: Floats  # [products]
    theme: Floats  # [occasions, products]
    theme_warmth: Floats  # [occasions]
    peak: Floats  # [products] time at which the product's collection pulls most; nan for none
    strength: Floats  # [products] how much it pulls
    warmth: Floats  # [products] pull of warm weather

    def on_day(self, day: int) -> Floats:
        """Popularity and season, logits [products], on the day that begins at `day` (microseconds)."""
        off = (day - self.peak) / (45 * DAY)
        season = np.nan_to_num(self.strength * (np.exp(-(off**2)) - 0.5))
        age = np.maximum(day - self.catalogue.available_from, 0) / (21 * DAY)
        return np.asarray(
            self.popularity + season + self.warmth * warm_weather(day) + NOVELTY * np.exp(-age))

    def theme_odds(self, logits: Floats, day: int) -> Floats:
        """Probability [occasions] of each theme for a customer with these `logits` on a day."""
        odds = np.exp(logits + self.theme_warmth * warm_weather(day))
        return np.asarray(odds / odds.sum())


@dataclass(frozen=True)
class Session:
    """One visit to the shop, as it was; the truth is computed from these."""

    user: int
    starts: int  # microseconds
    is_store: bool
    chosen: Ints  # [choices] products in the order they were chosen
    owned: Ints  # products bought before: not on offer
    met: Ints  # products in any event before: no first meetings


def warm_weather(day: int) -> float:
    """-1 at midwinter to 1 at midsummer."""
    of_year = (day // DAY) % 365.25
    return float(np.cos(2 * np.pi * (of_year - _MIDSUMMER) / 365.25))


def make_demand(rng: np.random.Generator, catalogue: Catalogue) -> Demand:
    """Draw the products' popularity and derive what seasons and themes do to them."""
    products = np.arange(len(catalogue))
    theme = np.zeros((len(OCCASIONS), len(catalogue)))
    theme[catalogue.occasions[:, 0], products] = MAIN_OCCASION
    theme[catalogue.occasions[:, 1], products] = SECOND_OCCASION
    peaks = [np.nan if peak is None else np.datetime64(peak, "us").astype(np.int64).astype(float)
             for peak, _ in (COLLECTIONS[c] for c in COLLECTION_NAMES)]
    strengths = np.array([strength for _, strength in COLLECTIONS.values()])
    return Demand(
        catalogue=catalogue,
        popularity=rng.normal(0, 0.4, len(catalogue)),
        theme=theme,
        theme_warmth=np.array([o.warmth for o in OCCASIONS.values()]),
        peak=np.array(peaks)[catalogue.collection],
        strength=strengths[catalogue.collection],
        warmth=category_warmth()[catalogue.category],
    )


def session_times(rng: np.random.Generator, customers: Customers, events: int, weeks: int) -> list[Ints]:
    """Start times of each customer's sessions, sorted: one at arrival, the others by activity."""
    begins = ENDS - weeks * 7 * DAY
    more = max(round(events / SESSION_EVENTS) - len(customers), 0)
    chance = customers.activity * (1 - customers.arrives)
    number = 1 + rng.multinomial(more, chance / chance.sum())
    last = weeks * 7
    week = np.tile(_DAYS, weeks)
    times = []
    for user, sessions in enumerate(number):
        # Who is new comes at once; who knew the shop comes when they come.
        first = int(customers.arrives[user] * last)
        open_days = np.arange(first, last)
        days = rng.choice(open_days, sessions, p=week[first:] / week[first:].sum())
        if customers.arrives[user] > 0:
            days[0] = first
        hours = rng.choice(24, sessions, p=_HOURS / _HOURS.sum())
        start = begins + days * DAY + hours * HOUR + rng.integers(0, 3600, sessions) * SECOND
        times.append(np.sort(np.minimum(start, ENDS - LONGEST)))
    return times


class Event(NamedTuple):
    """One row of the log; `time` in microseconds, `user` and `item` as rows of their tables."""

    user: int
    item: int
    time: int
    type: str
    channel: str
    session: str
    quantity: int


class Log:
    """The growing log of one customer, and what was bought and met so far."""

    def __init__(self, user: int) -> None:
        self.user = user
        self.events: list[Event] = []
        self.owned: list[int] = []
        self.met: list[int] = []

    def add(self, item: int, time: int, event_type: str, channel: str, session: str, *, quantity: int = 1) -> None:
        """Write one event down."""
        self.events.append(Event(self.user, item, time, event_type, channel, session, quantity))
        self.met.append(item)
        if event_type == "purchase":
            self.owned.append(item)


def live(
    rng: np.random.Generator, customers: Customers, demand: Demand, events: int, weeks: int,
) -> tuple[list[Event], list[Session]]:
    """Let every customer shop until `ENDS`: all events by time, and the sessions."""
    written: list[Event] = []
    sessions: list[Session] = []
    by_day = {day: demand.on_day(day) for day in range(ENDS - weeks * 7 * DAY, ENDS, DAY)}
    for user, starts in enumerate(session_times(rng, customers, events, weeks)):
        taste = customers.taste(user, demand.catalogue)
        log = Log(user)
        free = 0
        for number, planned in enumerate(starts):
            start = max(int(planned), free)
            if start > ENDS - LONGEST:
                continue
            day = start // DAY * DAY
            theme = rng.choice(len(OCCASIONS), p=demand.theme_odds(customers.occasions[user, :, 1], day))
            utility = taste + by_day[day] + demand.theme[theme]
            utility[demand.catalogue.available_from > start] = -np.inf
            utility[log.owned] = -np.inf
            is_store = bool(rng.random() < STORE_SHARE[customers.channel[user]])
            more = rng.geometric(1 / (1 + (MORE_IN_BASKET if is_store else MORE_VIEWS))) - 1
            # Gumbel top-k is repeated softmax choice without replacement (Kool et al., 2019).
            noisy = utility + rng.gumbel(size=len(utility))
            most = min(1 + more, 24, int(np.isfinite(utility).sum()))
            chosen = np.argpartition(-noisy, most - 1)[:most]
            chosen = chosen[np.argsort(-noisy[chosen])]
            name = f"S-{user:05d}-{number:03d}"
            owned, met = np.array(log.owned, np.int64), np.unique(np.array(log.met, np.int64))
            sessions.append(Session(user, start, is_store, chosen, owned, met))
            free = HOUR + (_basket(rng, log, chosen, start, name) if is_store
                           else _browse(rng, log, chosen, start, name, taste=taste))
        written.extend(log.events)
    # What happens to a customer at one instant stays in the order it was written.
    written.sort(key=lambda event: (event.time, event.user))
    return written, sessions


def _basket(rng: np.random.Generator, log: Log, chosen: Ints, start: int, session: str) -> int:
    """A store sale: everything at one instant, which is returned. What was only looked at nobody writes down."""
    for item in chosen:
        log.add(int(item), start, "purchase", "store", session)
        _maybe_return(rng, log, int(item), start, "store")
    return start


def _browse(rng: np.random.Generator, log: Log, chosen: Ints, start: int, session: str, *, taste: Floats) -> int:
    """An online visit: views, some put into the cart (rather what suits the customer), some bought at the end.

    Returns:
        When it ended, microseconds.
    """
    now, cart = start, []
    liking = (taste - taste.mean()) / taste.std()
    for item in chosen:
        log.add(int(item), now, "view", "online", session)
        now += int(rng.integers(15, 150)) * SECOND
        # Whether it goes into the cart hangs on taste alone, so that carts tell nothing about the session's theme.
        if rng.random() < 1 / (1 + np.exp(3.0 - 0.7 * liking[item])):
            log.add(int(item), now, "add_to_cart", "online", session)
            cart.append(int(item))
            now += int(rng.integers(5, 40)) * SECOND
    if cart and rng.random() < 0.5:
        now += int(rng.integers(60, 400)) * SECOND
        for item in cart:
            log.add(item, now, "purchase", "online", session, quantity=1 + int(rng.random() < 0.04))
            _maybe_return(rng, log, item, now, "online")
    return now


def _maybe_return(rng: np.random.Generator, log: Log, item: int, bought: int, channel: str) -> None:
    """Some purchases come back after three to twenty days, by the way they went."""
    back = bought + int(rng.integers(3, 21)) * DAY + int(rng.integers(0, 6)) * HOUR + SECOND
    if rng.random() < RETURNED[channel] and back < ENDS:
        log.add(item, back, "return", channel, f"R-{log.user:05d}-{bought // SECOND}")

"""Queries whose item is known, made from the item's own text, and what of them training must not see."""

import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from models.query_sampling import SHORTEST
from pipelines.item_texts import ItemText

FEWEST, MOST = 2, 4  # words of a query
HELD_SETS, HELD_ITEMS = 5, 10  # one word set of five, one item of ten


class Query(NamedTuple):
    """What is typed, and the item that it was made from."""

    item: int
    words: tuple[str, ...]


def _part(text: str, parts: int) -> bool:
    return zlib.crc32(text.encode()) % parts == 0


def is_held_set(words: Sequence[str]) -> bool:
    """Whether no training query may consist of these words, in any order and for whichever item.

    The set alone decides, not the pair of set and item: where twenty items share a set and it is held out for four of
    them, training would learn that it means the other sixteen.
    """
    return len(set(words)) > 1 and _part("words " + " ".join(sorted(set(words))), HELD_SETS)


def held_items(item_ids: Sequence[str]) -> npt.NDArray[np.bool_]:
    """[items] items of which training never sees two words of the title together."""
    return np.array([_part(f"item {item}", HELD_ITEMS) for item in item_ids], np.bool_)


def hold_out(texts: Sequence[ItemText], held: npt.NDArray[np.bool_]) -> Callable[[int, Sequence[str]], bool]:
    """The rule for models.query_encoder.fit."""
    titles = [set(t.title) for t in texts]

    def is_held_out(item: int, words: Sequence[str]) -> bool:
        return is_held_set(words) or bool(held[item] and len(titles[item].intersection(words)) > 1)

    return is_held_out


def exact(texts: Sequence[ItemText], held: npt.NDArray[np.bool_], number: int, seed: int) -> list[Query]:
    """Two to four distinct words of the title, in its order; of held items any, of others held sets alone."""
    return _distinct(_drawn(texts, 0, seed), held, number, len(texts))


def shifted(texts: Sequence[ItemText], held: npt.NDArray[np.bool_], number: int, seed: int) -> list[Query]:
    """As `exact`, a third of the words (at least one) replaced by words of the item that its title does not hold."""
    return _distinct(_drawn(texts, 3, seed), held, number, len(texts))


def misspelt(
    queries: Sequence[Query], misspell: Callable[[str], str], vocabulary: set[str]
) -> tuple[list[Query], list[Query]]:
    """`queries` with their longest word misspelt into one that no item holds, and what was meant by each.

    Those drop out whose words are all too short, or whose mistake makes another word of the catalogue.
    """
    typed, meant = [], []
    for query in queries:
        longest = max(query.words, key=len)
        wrong = misspell(longest) if len(longest) >= SHORTEST else longest
        if wrong not in vocabulary:
            typed.append(Query(query.item, tuple(wrong if w == longest else w for w in query.words)))
            meant.append(query)
    return typed, meant


def _drawn(texts: Sequence[ItemText], one_of: int, seed: int) -> Iterator[Query]:
    """Endless queries, over all items in turn; one word of `one_of` (0: none) comes from outside the title."""
    rng = np.random.default_rng(seed)
    titles = [list(dict.fromkeys(t.title)) for t in texts]
    others = [sorted(set(t.others) - set(t.title)) for t in texts]
    able = [i for i, title in enumerate(titles) if len(title) >= FEWEST and (others[i] or not one_of)]
    while able:
        for item in rng.permutation(able).tolist():
            title, other = titles[item], others[item]
            size = min(int(rng.integers(FEWEST, MOST + 1)), len(title))
            words = [title[p] for p in sorted(rng.choice(len(title), size, replace=False).tolist())]
            if one_of:
                replaced = min(max(size // one_of, 1), len(other))
                for place, word in zip(rng.choice(size, replaced, replace=False),
                                       rng.choice(len(other), replaced, replace=False), strict=True):
                    words[int(place)] = other[int(word)]
            yield Query(item, tuple(words))


def _distinct(drawn: Iterator[Query], held: npt.NDArray[np.bool_], number: int, items: int) -> list[Query]:
    """The first `number` allowed queries; fewer where a small catalogue does not have so many."""
    found: dict[tuple[int, frozenset[str]], Query] = {}
    for _, query in zip(range(20 * max(number, items)), drawn, strict=False):
        if held[query.item] or is_held_set(query.words):
            found.setdefault((query.item, frozenset(query.words)), query)
        if len(found) == number:
            break
    return list(found.values())

"""What a shopper's words ask for: labels, exclusions, prices, and references to what was shown. English cues.

At each word the longest phrase that means something is taken. A denial ("not", "without") holds for the phrase behind
it, and for more of the same column joined by "or", "nor" or "and"; a comma ends it. Words that are recognised as
nothing are left for the text search, but for those that were denied: a vector would ask for them.
"""

from collections.abc import Sequence
from typing import Literal

from pipelines.contracts import Document
from serving.discover.lexicon import Lexicon
from serving.discover.prices import Asked, price_at
from serving.discover.wording import Word, cues, words_of

Kind = Literal["label", "price", "like", "same_as", "any"]

_DENIALS = cues("not", "no", "without", "except", "excluding", "exclude", "avoid", "non", "other than", "anything but",
                "don t want", "dont want", "do not want", "nothing in", "never")
_LIKE = cues("more like", "similar to", "something like", "more of", "closer to", "like")
_ORDINALS = {word: place for place, words in enumerate(
    ("first 1st", "second 2nd", "third 3rd", "fourth 4th", "fifth 5th", "sixth 6th", "seventh 7th", "eighth 8th",
     "ninth 9th", "tenth 10th")) for word in words.split()} | {"last": -1}
_SAME, _OTHER = frozenset({"same", "this", "that"}), frozenset({"other", "another", "different"})
_ANY = frozenset({"any", "all", "every", "whatever"})
_JOINS = frozenset({"or", "nor", "and"})
# Said around a wish; the text search learns nothing from them.
_FILLING = frozenset(word for cue in cues(
    "a an the and or nor but of in on at for with to by from as than then is are be am i me my we us our you your it "
    "its he she they them want need like looking look show find give get have see please some something anything "
    "thing one item piece product made make that this these those would could can will any all too very really just "
    "also now there more what which who do does don t m s ll d re same other another") for word in cue)
_LONGEST = 8


class Part(Document):
    """One thing that was understood.

    Attributes:
        start, end: place in the text.
        said: the words.
        kind: "label" of a column; a "price"; "like" an item; the labels that an item has in a column ("same_as"); or
            "any", which lifts what was asked for in a column, or of the price where that is None.
        column: of the items.
        labels: at least one of which is asked for, or none where `is_excluded`.
        is_excluded: it is not wanted.
        price: what is asked of it.
        place: of an item among those shown last, from 0, -1 for the last; None is the item that is spoken of.
    """

    start: int
    end: int
    said: str
    kind: Kind
    column: str | None = None
    labels: tuple[str, ...] = ()
    is_excluded: bool = False
    price: Asked | None = None
    place: int | None = None


class Unheard(Document):
    """Words that nothing was done about, and why."""

    said: str
    why: str


class Reading(Document):
    """A text, understood: parts in their order, and the words that are left for the text search."""

    parts: tuple[Part, ...]
    left: str
    unheard: tuple[Unheard, ...] = ()


def read(text: str, lexicon: Lexicon) -> Reading:
    """Understand a text in the words of a catalogue."""
    return _Reader(text, lexicon).read()


class _Reader:
    def __init__(self, text: str, lexicon: Lexicon) -> None:
        self.text, self.lexicon, self.words = text, lexicon, words_of(text)
        self.parts: list[Part] = []
        self.left: list[Word] = []
        self.unheard: list[Unheard] = []
        self.denied_from: int | None = None  # the word that denies what comes next
        self.denied_column: str | None = None  # of what was denied already: more of it may follow

    def read(self) -> Reading:
        place = 0
        while place < len(self.words):
            if self.words[place].is_apart:
                self._affirm()
            place += self._take(place)
        left = " ".join(self.text[word.start : word.end] for word in self.left)
        return Reading(parts=tuple(self.parts), left=left, unheard=tuple(self.unheard))

    def _take(self, place: int) -> int:
        """Understand what begins at a word; how many words that are."""
        found = [self._price(place), self._reference(place), self._column(place), self._label(place)]
        parts, used = max(found, key=lambda one: one[1])  # of equally long ones the first
        denial = self._cue(place, _DENIALS)
        if used and used >= denial:
            self._understood(parts)
            return used
        if denial:
            self.denied_from, self.denied_column = place, None
            return denial
        self._not_understood(place)
        return 1

    def _understood(self, parts: Sequence[Part]) -> None:
        column = parts[0].column
        joined = self.denied_column is not None and column == self.denied_column
        denied = self.denied_from is not None and (self.denied_column is None or joined)
        if denied and parts[0].kind in ("label", "same_as"):
            self.parts += [part.model_copy(update={"is_excluded": True}) for part in parts]
            self.denied_column = column
            return
        one = parts[0]
        if denied and one.price is not None:
            one = one.model_copy(update={"price": one.price.denied()})
        if denied and (one.price is None or one.price == Asked()):
            self.unheard.append(Unheard(said=f"{self.words[self.denied_from or 0].text} {one.said}",
                                        why="this cannot be excluded"))
        else:
            self.parts.append(one)
        self._affirm()

    def _not_understood(self, place: int) -> None:
        word = self.words[place]
        if word.text in _FILLING:
            if word.text not in _JOINS and self.denied_column is not None:
                self._affirm()
            return
        if self.denied_from is not None and self.denied_column is None:
            self.unheard.append(Unheard(said=self._said(self.denied_from, place + 1),
                                        why="no label of the catalogue: it cannot be excluded"))
        else:
            self.left.append(word)
        self._affirm()

    def _affirm(self) -> None:
        self.denied_from = self.denied_column = None

    def _price(self, place: int) -> tuple[list[Part], int]:
        asked, used = price_at(self.words, place)
        if asked is None:
            return [], 0
        of, more = self._item(place + used) if asked.than_shown else (None, 0)
        return [self._part(place, used + more, kind="price", price=asked, place=of)], used + more

    def _reference(self, place: int) -> tuple[list[Part], int]:
        """ "more like the second", "like this", "the second one"."""
        lead = self._cue(place, _LIKE)
        of, used = self._item(place + lead)
        is_said = lead or self._at(place + used - 1) == "one"
        if used and is_said:
            return [self._part(place, lead + used, kind="like", place=of)], lead + used
        names_item = self._at(place + lead) in ("this", "that", "it") and not self._names_column(place + lead + 1)
        if lead and names_item:
            return [self._part(place, lead + 1, kind="like")], lead + 1
        return [], 0

    def _column(self, place: int) -> tuple[list[Part], int]:
        """ "this brand", "same colour as the second", "another designer", "any price"."""
        first = place + 1 + (self._at(place) in ("the", "a"))
        lead = self._at(first - 1)
        if lead not in _SAME | _OTHER | _ANY:
            return [], 0
        used = first - place
        if lead in _ANY and self._at(first) == "price":
            return [self._part(place, used + 1, kind="any")], used + 1
        size = self._names_column(first)
        if not size:
            return [], 0
        column, used = self.lexicon.column([word.text for word in self.words[first : first + size]]), used + size
        if lead in _ANY:
            return [self._part(place, used, kind="any", column=column)], used
        of, more = self._item(place + used + 1) if self._at(place + used) == "as" else (None, 0)
        used += more + 1 if more else 0
        return [self._part(place, used, kind="same_as", column=column, place=of, is_excluded=lead in _OTHER)], used

    def _label(self, place: int) -> tuple[list[Part], int]:
        for size in range(min(_LONGEST, len(self.words) - place), 0, -1):
            words = self.words[place : place + size]
            if any(word.is_apart for word in words[1:]):
                continue
            meanings = self.lexicon.meanings([word.text for word in words if word.text != "and"])
            if meanings and words[0].text != "and" and words[-1].text != "and":
                return [self._part(place, size, kind="label", column=meaning.column, labels=meaning.labels)
                        for meaning in meanings], size
        return [], 0

    def _item(self, place: int) -> tuple[int | None, int]:
        """An item among those shown: its place, and how many words name it; 0 words where none do."""
        used = int(self._at(place) == "the")
        found = _ORDINALS.get(self._at(place + used))
        if found is None:
            return None, 0
        return found, used + 1 + (self._at(place + used + 1) == "one")

    def _names_column(self, place: int) -> int:
        return next((size for size in (3, 2, 1) if place + size <= len(self.words)
                     and self.lexicon.column([word.text for word in self.words[place : place + size]])), 0)

    def _cue(self, place: int, cues: Sequence[tuple[str, ...]]) -> int:
        """Words of the longest cue that begins here."""
        return max((len(cue) for cue in cues
                    if tuple(word.text for word in self.words[place : place + len(cue)]) == cue), default=0)

    def _at(self, place: int) -> str:
        return self.words[place].text if 0 <= place < len(self.words) else ""

    def _said(self, first: int, last: int) -> str:
        return self.text[self.words[first].start : self.words[last - 1].end]

    def _part(self, first: int, used: int, **rest: object) -> Part:
        start, end = self.words[first].start, self.words[first + used - 1].end
        return Part.model_validate({"start": start, "end": end, "said": self.text[start:end], **rest})

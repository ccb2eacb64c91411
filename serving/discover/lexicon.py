"""What words mean to a shop: the labels of its own catalogue, by whole phrase and by the words that tell a family.

Colours are a family by the plain word for them too: red, where the catalogue has scarlet and burgundy.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from pipelines import columns as c
from serving.catalogue import Catalogue
from serving.discover.colours import plain_words
from serving.discover.wording import cues, phrase_of

# Said of any column, so that as labels they count only behind their column's name: "size one", "lined yes".
COMMON = frozenset(word for cue in cues(
    "a an the and or nor of in on at for with without to by from as is are be it its this that these those i me my we "
    "you he she they no not non yes true false other none unknown any all some new one two three first second third "
    "last next more less most least like under over up down out off only very too so but if size large small medium "
    "cheap good best men women") for word in cue)
_LONGEST = 8  # words of a label
_FEW_LABELS = 2_000  # columns of more are names, which count as a whole alone
_FAMILY = 50  # labels that one word may stand for; more are no family
_ROLES = {"brand": c.BRAND, "colour": ("colour", "color"), "material": ("material", "fabric")}


@dataclass(frozen=True)
class Meaning:
    """What a phrase stands for in one column.

    Attributes:
        column: of the items.
        labels: as the shop writes them; an item with any of them is meant.
        is_whole: the phrase is all of a label, not a part that several share.
        items: that have one of the labels.
    """

    column: str
    labels: tuple[str, ...]
    is_whole: bool
    items: int


class Lexicon:
    """Phrases of one release's catalogue."""

    def __init__(self, catalogue: Catalogue) -> None:
        """Read all labels: some 10 microseconds each."""
        self._found: dict[tuple[str, ...], list[Meaning]] = {}
        self._columns: dict[tuple[str, ...], str] = {}
        self._colour = _column_of(catalogue, "colour")
        for name in catalogue.label_columns:
            self._add(catalogue, name)
            self._columns.setdefault(phrase_of(name), name)
        for role, names in _ROLES.items():
            known = _column_of(catalogue, role)
            for name in names if known is not None else ():
                self._columns.setdefault(phrase_of(name), str(known))
        if catalogue.category is not None:
            self._columns.setdefault(("category",), catalogue.category)
        for meanings in self._found.values():
            meanings.sort(key=lambda meaning: (not meaning.is_whole, -meaning.items))

    def meanings(self, words: Sequence[str]) -> tuple[Meaning, ...]:
        """What exactly these words stand for, whole labels and frequent ones first; nothing where no item has it."""
        return tuple(self._found.get(tuple(words), ()))

    def column(self, words: Sequence[str]) -> str | None:
        """The column that these words name."""
        return self._columns.get(tuple(words))

    def _add(self, catalogue: Catalogue, name: str) -> None:
        labels = catalogue.labels(name)
        whole: dict[tuple[str, ...], list[int]] = {}
        parts: dict[tuple[str, ...], list[int]] = {}
        starts: dict[tuple[str, ...], list[int]] = {}
        # A brand is its whole name: "row" asks for no product of The Row.
        has_parts = name != catalogue.brand and len(labels.values) <= _FEW_LABELS
        for code, label in enumerate(labels.values):
            phrase = phrase_of(label)
            if not 0 < len(phrase) <= _LONGEST:
                continue
            whole.setdefault((*phrase_of(name), *phrase) if _is_common(phrase) else phrase, []).append(code)
            for cut in range(1, len(phrase)) if has_parts else ():
                parts.setdefault(phrase[cut:], []).append(code)  # its head: leather, of calf leather
                starts.setdefault(phrase[:cut], []).append(code)
            for word in plain_words(phrase) if name == self._colour else ():
                parts.setdefault((word,), []).append(code)
        # What labels begin with is a family where several do: silk satin and silk twill, but not fine wool.
        for phrase, codes in starts.items():
            if len(codes) > 1:
                parts.setdefault(phrase, []).extend(codes)
        for phrases, is_whole in ((whole, True), (parts, False)):
            for phrase, codes in phrases.items():
                distinct = sorted(set(codes))
                if not is_whole and (phrase in whole or _is_common(phrase) or len(distinct) > _FAMILY):
                    continue
                items = int(labels.counts[distinct].sum())
                self._found.setdefault(phrase, []).append(
                    Meaning(name, tuple(labels.values[code] for code in distinct), is_whole, items))


def _column_of(catalogue: Catalogue, role: str) -> str | None:
    """The column that says the brand, colour or material of the items, where one is called so."""
    if role == "brand":
        return catalogue.brand
    names = _ROLES[role]
    return next((name for name in catalogue.label_columns if name in (*names, *(f"{one}s" for one in names))), None)


def _is_common(phrase: tuple[str, ...]) -> bool:
    return all(word in COMMON or word.isdigit() or len(word) == 1 for word in phrase)

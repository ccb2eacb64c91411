"""What people call a colour that a catalogue calls scarlet: shades by the plain English word for them.

A catalogue names its shades; a shopper asks for red. Only shades that a catalogue has mean anything to it.
"""

from collections.abc import Mapping, Sequence

_SHADES: Mapping[str, str] = {
    "red": "scarlet crimson burgundy bordeaux maroon cherry ruby garnet vermilion carmine oxblood claret wine",
    "orange": "tangerine apricot peach coral rust terracotta amber",
    "yellow": "mustard lemon saffron ochre canary",
    "green": "emerald olive khaki sage mint jade lime moss pistachio",
    "blue": "navy cobalt azure indigo sapphire turquoise teal aqua cyan denim marine petrol",
    "purple": "violet lilac lavender mauve plum aubergine amethyst",
    "pink": "blush rose fuchsia magenta salmon coral",
    "brown": "chocolate camel tan cognac chestnut mocha caramel coffee espresso tobacco walnut taupe",
    "beige": "camel sand nude ecru oatmeal stone",
    "white": "ivory cream ecru chalk snow",
    "black": "jet ebony onyx",
    "grey": "gray charcoal slate graphite anthracite ash",
    "gray": "grey charcoal slate graphite anthracite ash",
}
_PLAIN: Mapping[str, tuple[str, ...]] = {
    shade: tuple(plain for plain, shades in _SHADES.items() if shade in shades.split())
    for shades in _SHADES.values() for shade in shades.split()
}


def plain_words(label: Sequence[str]) -> tuple[str, ...]:
    """Plain words for a colour by its name as `phrase_of` gives it; a name's last word says what it is a shade of."""
    return _PLAIN.get(label[-1], ()) if label else ()

"""What the sample shop sells, in words: an invented luxury house with invented designers.

Styles and occasions appear nowhere as columns: only the description tells them, in changing words, so that
a model that reads text knows more than one that does not.
"""

from dataclasses import dataclass

TIERS = ("entry", "core", "high", "couture")


@dataclass(frozen=True)
class Category:
    """A product group: `nouns` with True for plurals, its materials, median price (EUR), pull of warm weather."""

    nouns: tuple[tuple[str, bool], ...]
    materials: tuple[str, ...]
    price: float
    warmth: float
    details: tuple[str, ...]


@dataclass(frozen=True)
class Occasion:
    """When a product is worn: the theme of a shopping session. `phrases` follow "for" or "to"."""

    phrases: tuple[str, ...]
    categories: tuple[str, ...]
    warmth: float


_LEATHERS = ("calf leather", "grained leather", "suede", "embossed leather")
_PRECIOUS = ("yellow gold", "white gold", "rose gold", "sterling silver")

CATEGORIES = {
    "handbags": Category(
        (("shoulder bag", False), ("tote", False), ("top-handle bag", False), ("bucket bag", False)),
        (*_LEATHERS, "canvas"), 1900, 0.0,
        ("The strap adjusts from shoulder to crossbody.", "Inside, three pockets keep a day in order.")),
    "evening clutches": Category(
        (("clutch", False), ("minaudière", False), ("evening pouch", False)),
        ("silk satin", "velvet", "embossed leather", "calf leather"), 1300, 0.1,
        ("A fine chain tucks away inside.", "The clasp closes with a quiet click.")),
    "shoes": Category(
        (("pumps", True), ("slingbacks", True), ("loafers", True)),
        ("calf leather", "suede", "silk satin", "embossed leather"), 850, 0.2,
        ("The last was redrawn for comfort.", "Leather soles are stitched by hand.")),
    "boots": Category(
        (("ankle boots", True), ("riding boots", True), ("Chelsea boots", True)),
        ("calf leather", "suede", "grained leather"), 1150, -0.9,
        ("A rubber half-sole meets wet pavements.", "The shaft is cut from a single hide.")),
    "scarves": Category(
        (("scarf", False), ("stole", False), ("square", False)),
        ("silk twill", "cashmere", "fine wool"), 480, -0.4,
        ("The hem is rolled by hand.", "It folds to almost nothing.")),
    "jewellery": Category(
        (("pendant", False), ("ring", False), ("drop earrings", True), ("bracelet", False)),
        _PRECIOUS, 2400, 0.0,
        ("Every stone is set by one pair of hands.", "The setting is open, to let the light through.")),
    "watches": Category(
        (("automatic watch", False), ("dress watch", False), ("chronograph", False)),
        ("steel", "yellow gold", "rose gold"), 6200, 0.0,
        ("The movement runs for seventy hours.", "A sapphire back shows the movement.")),
    "dresses": Category(
        (("gown", False), ("midi dress", False), ("wrap dress", False)),
        ("silk satin", "velvet", "linen", "cotton poplin", "fine wool"), 1700, 0.5,
        ("The waist is shaped by hidden darts.", "The hem falls just below the knee.")),
    "knitwear": Category(
        (("sweater", False), ("cardigan", False), ("roll-neck", False)),
        ("cashmere", "fine wool", "mohair"), 780, -1.0,
        ("Ribbed cuffs keep their shape.", "It was knitted whole, without a side seam.")),
    "outerwear": Category(
        (("coat", False), ("trench", False), ("cape", False)),
        ("fine wool", "cashmere", "gabardine", "suede"), 2600, -1.2,
        ("Horn buttons close the front.", "The lining is cut from cupro.")),
    "tailoring": Category(
        (("blazer", False), ("trousers", True), ("waistcoat", False)),
        ("fine wool", "linen", "velvet", "gabardine"), 1400, -0.1,
        ("The canvas is floating, never glued.", "A full lining helps the drape.")),
    "swimwear": Category(
        (("swimsuit", False), ("bikini", False)),
        ("technical jersey", "ribbed jersey"), 390, 1.0,
        ("The fabric dries within the hour.", "Double lining holds its shape in water.")),
    "sunglasses": Category(
        (("sunglasses", True), ("aviators", True)),
        ("acetate", "titanium"), 360, 0.7,
        ("Graded lenses soften a low sun.", "The hinges have five barrels.")),
    "belts": Category(
        (("belt", False), ("waist belt", False)),
        _LEATHERS, 420, 0.1,
        ("The buckle is cast, then polished.", "The edges are painted in five coats.")),
}

MATERIALS = {
    "calf leather": ("supple calf leather", "smooth box calf"),
    "grained leather": ("pebble-grained leather", "grained hide that shrugs off scratches"),
    "suede": ("velvety suede", "soft-napped suede"),
    "embossed leather": ("crocodile-embossed leather", "leather pressed with a reptile scale"),
    "canvas": ("waxed canvas", "dense cotton canvas"),
    "silk satin": ("liquid silk satin", "lustrous duchesse satin"),
    "silk twill": ("crisp silk twill", "printed silk"),
    "velvet": ("deep-pile velvet", "midnight-soft velvet"),
    "cashmere": ("two-ply cashmere", "cloud-light cashmere"),
    "fine wool": ("superfine merino", "wool from a mill in Biella"),
    "mohair": ("brushed mohair", "airy kid mohair"),
    "linen": ("washed Irish linen", "cool, breathable linen"),
    "cotton poplin": ("crisp cotton poplin", "shirting cotton"),
    "gabardine": ("rainproof gabardine", "tight-woven gabardine"),
    "technical jersey": ("sculpting jersey", "matte Italian stretch"),
    "ribbed jersey": ("ribbed jersey", "textured stretch rib"),
    "acetate": ("polished acetate", "hand-cut acetate"),
    "titanium": ("feather-weight titanium", "brushed titanium"),
    "steel": ("brushed steel", "polished steel"),
    "yellow gold": ("eighteen-carat yellow gold", "warm yellow gold"),
    "white gold": ("cool white gold", "rhodium-bright white gold"),
    "rose gold": ("blushing rose gold", "eighteen-carat rose gold"),
    "sterling silver": ("hammered sterling silver", "bright sterling silver"),
}

COLOURS = {
    "black": (34, 33, 36), "ivory": (236, 227, 208), "camel": (190, 146, 95), "chocolate": (88, 56, 42),
    "burgundy": (112, 26, 45), "scarlet": (196, 40, 40), "blush": (228, 176, 170), "lilac": (170, 150, 200),
    "navy": (33, 45, 84), "cobalt": (40, 82, 180), "emerald": (16, 110, 82), "olive": (110, 112, 66),
    "saffron": (222, 160, 48), "pearl grey": (168, 168, 172),
}

# Adjectives, and how a piece shows the style (follows "with").
STYLES = {
    "minimalist": (("pared-back", "understated", "clean-lined", "restrained"),
                   ("not one line too many", "the calm of an uncluttered room", "seams that all but disappear")),
    "romantic": (("romantic", "softly draped", "delicate", "poetic"),
                 ("a hint of old love letters", "petal-like folds", "a tender, floating line")),
    "architectural": (("sculptural", "sharply cut", "geometric", "bold-shouldered"),
                      ("edges as exact as a blueprint", "volumes borrowed from concrete and glass",
                       "angles that hold their own")),
    "bohemian": (("free-spirited", "bohemian", "artisanal", "easy-going"),
                 ("the looseness of a market find", "fringes and hand-stitching", "a wanderer's ease")),
    "heritage": (("classic", "time-honoured", "equestrian", "traditional"),
                 ("details taken from the archive", "saddle stitching our grandparents knew",
                  "proportions that never date")),
    "sporty": (("sporty", "streamlined", "dynamic", "athletic"),
               ("a racing line", "the lightness of good kit", "the ease of something made to move")),
    "opulent": (("opulent", "lavish", "baroque", "richly worked"),
                ("the glow of gilded stucco", "ornament laid on without apology", "an opera house's sense of drama")),
    "vintage": (("vintage-minded", "retro", "seventies-inspired", "nostalgic"),
                ("a nod to old film stills", "the charm of a well-kept wardrobe", "a wink at the disco years")),
}

OCCASIONS = {
    "gala": Occasion(("black-tie galas", "opening nights and red carpets", "the ballroom"),
                     ("evening clutches", "dresses", "jewellery", "shoes", "tailoring"), -0.1),
    "wedding": Occasion(("summer weddings", "the front row of a ceremony", "toasts under a marquee"),
                        ("dresses", "shoes", "jewellery", "evening clutches"), 0.6),
    "cocktail": Occasion(("cocktail hour", "rooftop bars and late parties", "nights that begin with champagne"),
                         ("evening clutches", "shoes", "dresses", "jewellery", "belts"), 0.1),
    "office": Occasion(("the boardroom", "long days at the office", "meetings that matter"),
                       ("tailoring", "handbags", "shoes", "watches", "belts"), -0.1),
    "city weekend": Occasion(("a gallery on Saturday and coffee after", "slow weekends in town", "city strolls"),
                             ("handbags", "boots", "knitwear", "sunglasses", "belts"), 0.0),
    "seaside": Occasion(("days by the sea", "a terrace above the harbour", "the beach club"),
                        ("swimwear", "sunglasses", "dresses", "scarves"), 1.5),
    "alpine": Occasion(("snowbound weekends", "the chalet after the last run", "frosty mountain mornings"),
                       ("knitwear", "outerwear", "boots", "scarves"), -1.5),
    "travel": Occasion(("long-haul flights", "the departure lounge", "carry-on journeys"),
                       ("handbags", "scarves", "knitwear", "watches", "sunglasses"), 0.2),
    "garden party": Occasion(("garden parties", "lunch on the lawn", "afternoons among roses"),
                             ("dresses", "sunglasses", "shoes", "scarves"), 1.0),
    "gift": Occasion(("birthdays and anniversaries", "a present that stays", "a small box tied with ribbon"),
                     ("scarves", "jewellery", "watches", "belts", "evening clutches"), -0.2),
    "country": Occasion(("muddy lanes and log fires", "country-house weekends", "walks with the dogs"),
                        ("outerwear", "boots", "knitwear", "tailoring"), -0.7),
    "date night": Occasion(("supper for two", "candlelit tables", "a first date worth remembering"),
                           ("dresses", "shoes", "jewellery", "evening clutches", "belts"), 0.0),
}

# Name -> (tier the house stands for, its two styles).
DESIGNERS = {
    "Maison Aurelle": (3, ("opulent", "romantic")), "Casa Vireno": (2, ("bohemian", "romantic")),
    "Halden & Rye": (1, ("heritage", "minimalist")), "Ottavia Bruno": (3, ("architectural", "opulent")),
    "Atelier Sorrel": (2, ("romantic", "vintage")), "Nordlys": (1, ("minimalist", "sporty")),
    "Kestrel & Vane": (2, ("heritage", "sporty")), "Studio Obara": (2, ("architectural", "minimalist")),
    "Lumen Paris": (3, ("minimalist", "architectural")), "Delphine Roux": (1, ("vintage", "romantic")),
    "Marchetti Figli": (2, ("heritage", "vintage")), "Ines Calder": (0, ("bohemian", "vintage")),
    "Torvald": (0, ("sporty", "minimalist")), "Palazzo Nera": (3, ("opulent", "vintage")),
    "Celeste Amara": (1, ("romantic", "bohemian")), "Fenwick Row": (0, ("heritage", "sporty")),
    "Sable et Fils": (3, ("heritage", "opulent")), "Yuna Mori": (1, ("architectural", "romantic")),
    "Rivage": (0, ("sporty", "bohemian")), "Alcazar": (2, ("opulent", "bohemian")),
    "Lindqvist": (1, ("minimalist", "vintage")), "Bellamy Court": (0, ("vintage", "heritage")),
    "Arc & Line": (1, ("architectural", "sporty")), "Villa Serafina": (2, ("romantic", "opulent")),
}

# Collection -> (day of its greatest pull, strength). No day: it never goes out of season.
COLLECTIONS: dict[str, tuple[str | None, float]] = {
    "Icons": (None, 0.0), "Spring/Summer 2025": ("2025-05-20", 1.0), "Autumn/Winter 2025": ("2025-11-20", 1.5),
    "Resort 2026": ("2026-02-01", 1.2), "Spring/Summer 2026": ("2026-04-25", 1.5),
    "Pre-Fall 2026": ("2026-07-01", 1.3),
}

NAMES = (
    "Selene", "Noctis", "Ariel", "Vesper", "Calla", "Odette", "Juno", "Lior", "Mireille", "Sienna", "Thea", "Isolde",
    "Marlow", "Cosima", "Elara", "Florin", "Gaia", "Harlow", "Iris", "Jardin", "Kyoto", "Lucca", "Montaigne", "Nerine",
    "Orsay", "Pavane", "Quill", "Riviera", "Sorrento", "Tivoli", "Umbra", "Valse", "Wren", "Xanthe", "Ysolde", "Zephyr",
    "Amalfi", "Biarritz", "Capri", "Deauville", "Ember", "Fresco", "Giverny", "Hollis", "Ilaria", "Lagoon", "Mistral",
    "Opale",
)

"""A drawing in layers: masks that are painted later."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageChops, ImageDraw

BIG = 512  # pixels of the drawing before it is reduced
Point = tuple[float, float]


class Sketch:
    """Masks of one drawing, painted in this order: body, dark parts, metal, stones, seams, glints."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.wide = float(rng.uniform(0.92, 1.08))  # no two pieces have quite the same proportions
        self.tall = float(rng.uniform(0.94, 1.06))
        self.body, self.dark, self.metal, self.stone, self.seam, self.glint = (
            Image.new("L", (BIG, BIG)) for _ in range(6))

    def at(self, point: Point) -> Point:
        """Pixels of a unit point, with the piece's own proportions about the centre."""
        return (BIG * (0.5 + (point[0] - 0.5) * self.wide), BIG * (0.5 + (point[1] - 0.5) * self.tall))

    def outline(self) -> Image.Image:
        """Everything that is not paper."""
        return ImageChops.lighter(ImageChops.lighter(self.body, self.metal), ImageChops.lighter(self.dark, self.stone))

    def fill(self, layer: Image.Image, points: Sequence[Point], ink: int = 255) -> None:
        """A polygon."""
        ImageDraw.Draw(layer).polygon([self.at(p) for p in points], fill=ink)

    def soft(self, layer: Image.Image, points: Sequence[Point], ink: int = 255) -> None:
        """A closed smooth curve through the points (Catmull-Rom)."""
        p = np.array(points)
        before, after, beyond = np.roll(p, 1, 0), np.roll(p, -1, 0), np.roll(p, -2, 0)
        t = np.linspace(0, 1, 10, endpoint=False)[None, :, None]
        curve = 0.5 * (2 * p[:, None] + (after - before)[:, None] * t
                       + (2 * before - 5 * p + 4 * after - beyond)[:, None] * t**2
                       + (3 * p - before - 3 * after + beyond)[:, None] * t**3)
        self.fill(layer, [(float(x), float(y)) for x, y in curve.reshape(-1, 2)], ink)

    def oval(self, layer: Image.Image, x: float, y: float, rx: float, ry: float, *, ink: int = 255) -> None:
        """A filled ellipse."""
        ImageDraw.Draw(layer).ellipse([self.at((x - rx, y - ry)), self.at((x + rx, y + ry))], fill=ink)

    def box(self, layer: Image.Image, left: float, top: float, right: float, bottom: float, *,
            r: float = 0.03) -> None:
        """A rectangle with round corners."""
        ImageDraw.Draw(layer).rounded_rectangle([self.at((left, top)), self.at((right, bottom))], r * BIG, fill=255)

    def ring(self, layer: Image.Image, x: float, y: float, rx: float, ry: float, *, thick: float,
             arc: tuple[float, float] = (0, 360)) -> None:
        """An ellipse's outline, or the `arc` of it from one angle to another: degrees, clockwise from the right."""
        box = [self.at((x - rx, y - ry)), self.at((x + rx, y + ry))]
        ImageDraw.Draw(layer).arc(box, *arc, fill=255, width=max(round(thick * BIG), 1))

    def line(self, layer: Image.Image, points: Sequence[Point], thick: float = 0.012) -> None:
        """A line through the points."""
        ImageDraw.Draw(layer).line([self.at(p) for p in points], fill=255, width=max(round(thick * BIG), 1),
                                   joint="curve")

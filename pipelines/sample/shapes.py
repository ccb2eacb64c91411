"""Silhouettes of the product groups, drawn in a unit square (0, 0 is the upper left corner)."""

from collections.abc import Callable, Sequence

import numpy as np

from pipelines.sample.sketch import Point, Sketch


def _mirror(points: Sequence[Point]) -> list[Point]:
    """A right half from top to bottom, made whole."""
    return [*points, *((1 - x, y) for x, y in reversed(points))]


def _handbag(s: Sketch, noun: int) -> None:
    if noun == 0:
        s.ring(s.body, 0.5, 0.46, 0.24, 0.36, thick=0.022, arc=(180, 360))
        s.box(s.body, 0.16, 0.42, 0.84, 0.82, r=0.06)
        s.line(s.seam, [(0.16, 0.60), (0.33, 0.655), (0.5, 0.675), (0.67, 0.655), (0.84, 0.60)], 0.016)
        s.box(s.metal, 0.46, 0.62, 0.54, 0.71, r=0.015)
    elif noun == 1:
        for x in (0.38, 0.62):
            s.ring(s.body, x, 0.40, 0.11, 0.26, thick=0.022, arc=(180, 360))
        s.fill(s.body, [(0.14, 0.38), (0.86, 0.38), (0.78, 0.86), (0.22, 0.86)])
        s.line(s.seam, [(0.145, 0.43), (0.855, 0.43)])
        s.oval(s.metal, 0.5, 0.5, 0.022, 0.022)
    elif noun == 2:
        s.ring(s.body, 0.5, 0.38, 0.15, 0.20, thick=0.035, arc=(180, 360))
        s.fill(s.body, [(0.25, 0.36), (0.75, 0.36), (0.84, 0.82), (0.16, 0.82)])
        for edge in ([(0.23, 0.56), (0.77, 0.56)], [(0.25, 0.37), (0.34, 0.56), (0.66, 0.56), (0.75, 0.37)]):
            s.line(s.seam, edge)
        s.box(s.metal, 0.45, 0.52, 0.55, 0.60, r=0.01)
    else:
        s.ring(s.body, 0.5, 0.42, 0.20, 0.34, thick=0.018, arc=(180, 360))
        s.soft(s.body, _mirror([(0.78, 0.38), (0.77, 0.60), (0.72, 0.84)]))
        s.line(s.seam, [(0.22, 0.44), (0.78, 0.44)])
        for x in (0.3, 0.43, 0.57, 0.7):
            s.oval(s.metal, x, 0.44, 0.016, 0.016)


def _clutch(s: Sketch, noun: int) -> None:
    if noun == 0:
        s.box(s.body, 0.10, 0.34, 0.90, 0.70, r=0.03)
        s.line(s.seam, [(0.11, 0.36), (0.5, 0.56), (0.89, 0.36)])
        s.oval(s.metal, 0.5, 0.56, 0.032, 0.032)
    elif noun == 1:
        s.box(s.metal, 0.15, 0.31, 0.85, 0.72, r=0.13)
        s.box(s.stone, 0.18, 0.345, 0.82, 0.685, r=0.11)
        s.line(s.glint, [(0.17, 0.47), (0.83, 0.47)], 0.016)
        for x in (0.46, 0.54):
            s.oval(s.metal, x, 0.30, 0.03, 0.03)
    else:
        s.soft(s.body, [(0.26, 0.32), (0.5, 0.34), (0.74, 0.32), (0.9, 0.66), (0.7, 0.75), (0.3, 0.75), (0.1, 0.66)])
        s.line(s.metal, [(0.27, 0.32), (0.73, 0.32)], 0.03)
        for x, low in ((0.36, 0.28), (0.5, 0.5), (0.64, 0.72)):
            s.line(s.seam, [(x, 0.36), (low, 0.66)], 0.01)


def _shoe(s: Sketch, noun: int) -> None:
    if noun == 2:
        s.soft(s.body, [(0.12, 0.46), (0.20, 0.42), (0.38, 0.46), (0.52, 0.50), (0.72, 0.55), (0.90, 0.66),
                        (0.88, 0.73), (0.5, 0.72), (0.13, 0.72)])
        s.fill(s.dark, [(0.11, 0.71), (0.90, 0.71), (0.89, 0.745), (0.38, 0.745), (0.36, 0.79), (0.11, 0.79)])
        s.line(s.seam, [(0.46, 0.48), (0.56, 0.60), (0.60, 0.72)])
        s.line(s.metal, [(0.50, 0.53), (0.62, 0.56)], 0.028)
        return
    s.fill(s.dark, [(0.14, 0.46), (0.23, 0.52), (0.19, 0.80), (0.145, 0.80)])
    s.soft(s.body, [(0.13, 0.36), (0.18, 0.32), (0.22, 0.42), (0.40, 0.60), (0.55, 0.64), (0.66, 0.60), (0.78, 0.66),
                    (0.92, 0.76), (0.86, 0.80), (0.62, 0.80), (0.42, 0.74), (0.24, 0.54), (0.14, 0.48)])
    s.line(s.dark, [(0.24, 0.56), (0.43, 0.755), (0.62, 0.81), (0.88, 0.808)], 0.016)
    if noun == 1:
        s.soft(s.seam, [(0.2, 0.40), (0.27, 0.46), (0.40, 0.61), (0.30, 0.54), (0.22, 0.48)])
        s.line(s.body, [(0.14, 0.36), (0.30, 0.34), (0.36, 0.40)], 0.022)
        s.oval(s.metal, 0.32, 0.355, 0.02, 0.02)


def _boots(s: Sketch, noun: int) -> None:
    top = (0.26, 0.10, 0.24)[noun]
    s.soft(s.body, [(0.28, top), (0.54, top), (0.54, 0.40), (0.57, 0.58), (0.74, 0.66), (0.84, 0.76), (0.80, 0.83),
                    (0.5, 0.82), (0.27, 0.82), (0.27, 0.60), (0.28, 0.40)])
    s.fill(s.dark, [(0.25, 0.82), (0.84, 0.82), (0.83, 0.86), (0.46, 0.86), (0.44, 0.92), (0.26, 0.92)])
    if noun == 2:
        s.fill(s.dark, [(0.37, 0.32), (0.46, 0.32), (0.47, 0.60), (0.41, 0.60)])
    elif noun == 1:
        s.line(s.seam, [(0.28, 0.17), (0.54, 0.17)])
        s.line(s.metal, [(0.28, 0.64), (0.56, 0.60)], 0.02)
    else:
        s.line(s.metal, [(0.36, 0.30), (0.36, 0.62)], 0.016)


def _scarf(s: Sketch, noun: int) -> None:
    if noun == 2:
        s.fill(s.body, [(0.5, 0.12), (0.88, 0.5), (0.5, 0.88), (0.12, 0.5)])
        s.line(s.seam, [(0.5, 0.20), (0.80, 0.5), (0.5, 0.80), (0.20, 0.5), (0.5, 0.20)], 0.03)
        s.oval(s.glint, 0.5, 0.5, 0.09, 0.09, ink=120)
        return
    low = 0.84 if noun == 0 else 0.76
    s.soft(s.body, [(0.30, 0.16), (0.5, 0.10), (0.70, 0.16), (0.66, 0.34), (0.5, 0.40), (0.34, 0.34)])
    s.soft(s.dark, [(0.40, 0.17), (0.5, 0.15), (0.60, 0.17), (0.5, 0.24)])
    s.fill(s.body, [(0.36, 0.32), (0.56, 0.34), (0.50, low), (0.26, low)])
    s.fill(s.body, [(0.50, 0.34), (0.64, 0.32), (0.76, low - 0.08), (0.54, low - 0.06)])
    for fold in ([(0.52, 0.38), (0.51, low - 0.06)], [(0.34, 0.30), (0.52, 0.37), (0.66, 0.30)]):
        s.line(s.seam, fold, 0.014)
    for x in (0.27 + n * 0.027 for n in range(9)):
        s.line(s.body, [(x, low - 0.01), (x - 0.005, low + 0.07)], 0.010)


def _jewellery(s: Sketch, noun: int) -> None:
    if noun == 0:
        s.ring(s.metal, 0.5, 0.20, 0.30, 0.46, thick=0.014, arc=(20, 160))
        s.soft(s.metal, [(0.5, 0.60), (0.63, 0.76), (0.5, 0.90), (0.37, 0.76)])
        s.soft(s.stone, [(0.5, 0.645), (0.595, 0.76), (0.5, 0.86), (0.405, 0.76)])
        s.oval(s.glint, 0.47, 0.73, 0.022, 0.03)
    elif noun == 1:
        s.ring(s.metal, 0.5, 0.60, 0.26, 0.27, thick=0.045)
        s.fill(s.metal, [(0.34, 0.30), (0.66, 0.30), (0.58, 0.40), (0.42, 0.40)])
        s.fill(s.stone, [(0.40, 0.16), (0.60, 0.16), (0.68, 0.26), (0.5, 0.40), (0.32, 0.26)])
        s.line(s.seam, [(0.33, 0.26), (0.67, 0.26)], 0.010)
        s.line(s.glint, [(0.42, 0.18), (0.46, 0.25), (0.5, 0.37)], 0.014)
    elif noun == 2:
        for x in (0.32, 0.68):
            s.ring(s.metal, x, 0.22, 0.05, 0.07, thick=0.014, arc=(150, 400))
            s.oval(s.stone, x, 0.34, 0.05, 0.05)
            s.line(s.metal, [(x, 0.39), (x, 0.50)], 0.014)
            s.soft(s.metal, [(x, 0.48), (x + 0.115, 0.70), (x, 0.83), (x - 0.115, 0.70)])
            s.soft(s.stone, [(x, 0.54), (x + 0.08, 0.70), (x, 0.79), (x - 0.08, 0.70)])
            s.oval(s.glint, x - 0.025, 0.66, 0.016, 0.03)
    else:
        s.ring(s.metal, 0.5, 0.52, 0.36, 0.26, thick=0.05)
        for angle in np.linspace(0.1, 0.9, 7) * np.pi:
            x, y = 0.5 + 0.335 * np.cos(angle), 0.52 + 0.235 * np.sin(angle)
            s.oval(s.stone, float(x), float(y), 0.04, 0.04)
            s.oval(s.glint, float(x) - 0.012, float(y) - 0.012, 0.011, 0.011)


def _watch(s: Sketch, noun: int) -> None:
    strap = s.dark if noun == 1 else s.metal
    s.fill(strap, [(0.40, 0.06), (0.60, 0.06), (0.64, 0.32), (0.36, 0.32)])
    s.fill(strap, [(0.36, 0.68), (0.64, 0.68), (0.60, 0.94), (0.40, 0.94)])
    if noun != 1:
        for y in (0.11, 0.17, 0.23, 0.77, 0.83, 0.89):
            s.line(s.seam, [(0.38, y), (0.62, y)], 0.01)
    s.fill(s.metal, [(0.64, 0.47), (0.80, 0.47), (0.80, 0.53), (0.64, 0.53)])
    s.oval(s.metal, 0.5, 0.5, 0.27, 0.27)
    s.oval(s.stone, 0.5, 0.5, 0.225, 0.225)
    for hour in range(12):
        angle = np.pi * hour / 6
        x, y = float(np.cos(angle)), float(np.sin(angle))
        s.line(s.glint, [(0.5 + 0.16 * x, 0.5 + 0.16 * y), (0.5 + 0.195 * x, 0.5 + 0.195 * y)], 0.014)
    s.line(s.glint, [(0.43, 0.44), (0.5, 0.5), (0.5, 0.36)], 0.018)
    if noun == 2:
        s.ring(s.glint, 0.5, 0.60, 0.06, 0.06, thick=0.012)
        s.box(s.metal, 0.70, 0.36, 0.77, 0.42, r=0.01)


def _dress(s: Sketch, noun: int) -> None:
    hem, flare = ((0.92, 0.36), (0.80, 0.26), (0.78, 0.24))[noun]
    if noun == 2:
        s.soft(s.body, _mirror([(0.62, 0.10), (0.72, 0.20), (0.82, 0.40), (0.74, 0.44), (0.64, 0.30), (0.60, 0.42)]))
    half = [(0.58, 0.10), (0.63, 0.26), (0.585, 0.44), (0.5 + flare * 0.62, 0.66), (0.5 + flare, hem)]
    s.fill(s.body, _mirror(half))
    s.fill(s.seam, [(0.415, 0.10), (0.585, 0.10), (0.5, 0.20 if noun != 2 else 0.30)])
    s.line(s.seam, [(0.415, 0.44), (0.585, 0.44)], 0.022)
    for x in (0.44, 0.5, 0.56):
        s.line(s.seam, [(x, 0.48), (0.5 + (x - 0.5) * flare / 0.09, hem - 0.02)], 0.008)
    if noun == 2:
        s.line(s.seam, [(0.585, 0.13), (0.43, 0.42)], 0.012)
    if noun == 1:
        s.oval(s.metal, 0.5, 0.44, 0.018, 0.018)


def _top(s: Sketch, hem: float, sleeve: float, width: float = 0.24) -> None:
    """Shoulders, two sleeves and a trunk."""
    edge = 0.5 + width
    s.fill(s.body, _mirror([(0.60, 0.16), (edge - 0.02, 0.22), (edge, 0.36), (edge, hem)]))
    for sign in (1, -1):
        s.fill(s.body, [(0.5 + sign * x, y) for x, y in (
            (width - 0.04, 0.21), (width + 0.07, 0.30), (width + 0.17, sleeve), (width + 0.06, sleeve + 0.02),
            (width - 0.02, 0.42))])
        s.line(s.seam, [(0.5 + sign * (width - 0.02), 0.28), (0.5 + sign * width, 0.46)], 0.010)


def _knitwear(s: Sketch, noun: int) -> None:
    _top(s, 0.80, 0.74)
    s.line(s.seam, [(0.27, 0.75), (0.73, 0.75)])
    if noun == 2:
        s.box(s.body, 0.40, 0.07, 0.60, 0.22, r=0.03)
        s.line(s.seam, [(0.40, 0.16), (0.60, 0.16)])
    elif noun == 1:
        s.fill(s.dark, [(0.41, 0.155), (0.59, 0.155), (0.5, 0.36)])
        s.line(s.seam, [(0.5, 0.36), (0.5, 0.80)], 0.014)
        for y in (0.44, 0.54, 0.64):
            s.oval(s.metal, 0.525, y, 0.014, 0.014)
    else:
        s.oval(s.dark, 0.5, 0.155, 0.09, 0.045)


def _lapels(s: Sketch, depth: float) -> None:
    s.fill(s.dark, [(0.43, 0.155), (0.57, 0.155), (0.5, depth - 0.05)])
    for sign in (1, -1):
        s.fill(s.body, [(0.5 + sign * x, y) for x, y in (
            (0.07, 0.14), (0.15, 0.26), (0.0, depth), (0.0, depth - 0.05))])
        s.line(s.seam, [(0.5 + sign * 0.07, 0.14), (0.5 + sign * 0.155, 0.27), (0.5, depth)], 0.012)


def _outerwear(s: Sketch, noun: int) -> None:
    if noun == 2:
        s.soft(s.body, _mirror([(0.58, 0.13), (0.74, 0.24), (0.86, 0.56), (0.90, 0.82), (0.66, 0.87)]))
        s.oval(s.dark, 0.5, 0.13, 0.08, 0.035)
        s.line(s.seam, [(0.5, 0.17), (0.5, 0.86)], 0.012)
        for sign in (1, -1):
            s.line(s.seam, [(0.5 + sign * 0.16, 0.40), (0.5 + sign * 0.22, 0.84)], 0.010)
        s.oval(s.metal, 0.5, 0.22, 0.022, 0.022)
        return
    _top(s, 0.93, 0.66, 0.22)
    _lapels(s, 0.42)
    s.line(s.seam, [(0.5, 0.42), (0.5, 0.93)], 0.012)
    if noun == 1:
        s.line(s.dark, [(0.28, 0.54), (0.72, 0.54)], 0.03)
        s.box(s.metal, 0.46, 0.51, 0.54, 0.57, r=0.01)
    for y in (0.48, 0.60, 0.72):
        for x in (0.45, 0.55):
            s.oval(s.metal, x, y, 0.014, 0.014)


def _tailoring(s: Sketch, noun: int) -> None:
    if noun == 1:
        s.fill(s.body, [(0.34, 0.10), (0.66, 0.10), (0.72, 0.92), (0.55, 0.92), (0.5, 0.36), (0.45, 0.92),
                        (0.28, 0.92)])
        s.line(s.seam, [(0.335, 0.16), (0.665, 0.16)], 0.014)
        for sign in (1, -1):
            s.line(s.seam, [(0.5 + sign * 0.09, 0.20), (0.5 + sign * 0.135, 0.90)], 0.010)
        s.oval(s.metal, 0.5, 0.13, 0.014, 0.014)
        return
    if noun == 0:
        _top(s, 0.80, 0.74, 0.22)
    else:
        s.fill(s.body, _mirror([(0.57, 0.15), (0.68, 0.18), (0.66, 0.34), (0.72, 0.42), (0.70, 0.76), (0.56, 0.84),
                                (0.5, 0.78)]))
    _lapels(s, 0.50)
    s.line(s.seam, [(0.5, 0.50), (0.5, 0.78)], 0.012)
    for y in (0.53, 0.61, 0.69):
        s.oval(s.metal, 0.515, y, 0.014, 0.014)


def _swimwear(s: Sketch, noun: int) -> None:
    if noun == 0:
        for sign in (1, -1):
            s.line(s.body, [(0.5 + sign * 0.15, 0.08), (0.5 + sign * 0.14, 0.30)], 0.03)
        s.soft(s.body, [(0.33, 0.26), (0.5, 0.36), (0.67, 0.26), (0.68, 0.40), (0.63, 0.52), (0.72, 0.68), (0.56, 0.86),
                        (0.5, 0.90), (0.44, 0.86), (0.28, 0.68), (0.37, 0.52), (0.32, 0.40)])
        s.line(s.seam, [(0.375, 0.52), (0.625, 0.52)], 0.012)
        return
    for sign in (1, -1):
        s.line(s.body, [(0.5 + sign * 0.13, 0.12), (0.5 + sign * 0.14, 0.30)], 0.016)
        s.soft(s.body, [(0.5 + sign * x, y) for x, y in ((0.02, 0.42), (0.14, 0.26), (0.26, 0.40), (0.14, 0.47))])
    s.line(s.body, [(0.22, 0.43), (0.78, 0.43)], 0.018)
    s.oval(s.metal, 0.5, 0.43, 0.02, 0.02)
    s.fill(s.body, [(0.24, 0.60), (0.76, 0.60), (0.72, 0.68), (0.55, 0.84), (0.45, 0.84), (0.28, 0.68)])
    s.line(s.seam, [(0.25, 0.635), (0.75, 0.635)], 0.010)


def _sunglasses(s: Sketch, noun: int) -> None:
    frame = s.body if noun == 0 else s.metal
    for sign in (1, -1):
        s.line(frame, [(0.5 + sign * 0.36, 0.42), (0.5 + sign * 0.44, 0.34)], 0.035 if noun == 0 else 0.02)
        if noun == 0:
            s.soft(s.body, [(0.5 + sign * x, y) for x, y in (
                (0.04, 0.42), (0.22, 0.37), (0.42, 0.36), (0.38, 0.56), (0.22, 0.64), (0.07, 0.57))])
            s.soft(s.dark, [(0.5 + sign * x, y) for x, y in (
                (0.08, 0.45), (0.22, 0.41), (0.36, 0.41), (0.33, 0.54), (0.22, 0.59), (0.10, 0.54))])
        else:
            s.soft(s.metal, [(0.5 + sign * x, y) for x, y in (
                (0.04, 0.41), (0.22, 0.38), (0.39, 0.41), (0.38, 0.56), (0.24, 0.68), (0.09, 0.60))])
            s.soft(s.stone, [(0.5 + sign * x, y) for x, y in (
                (0.06, 0.43), (0.22, 0.40), (0.37, 0.43), (0.36, 0.55), (0.24, 0.655), (0.105, 0.58))])
        x = 0.5 + sign * 0.22
        s.line(s.glint, [(x - 0.07, 0.53), (x + 0.02, 0.44)], 0.022)
    s.line(frame, [(0.45, 0.44), (0.55, 0.44)], 0.03 if noun == 0 else 0.016)


def _belt(s: Sketch, noun: int) -> None:
    thick = 0.075 if noun == 0 else 0.13
    s.ring(s.body, 0.5, 0.46, 0.36, 0.24, thick=thick)
    s.ring(s.seam, 0.5, 0.46, 0.36, 0.24, thick=0.010)
    y = 0.70 - thick / 2
    high, low = y - thick / 2, y + thick / 2
    s.fill(s.body, [(0.5, high), (0.80, high + 0.05), (0.84, y + 0.07), (0.78, y + 0.11), (0.5, low)])
    for x in (0.64, 0.71):
        s.oval(s.dark, x, y + 0.025, 0.012, 0.012)
    s.box(s.metal, 0.38, high - 0.03, 0.56, low + 0.03, r=0.02)
    s.box(s.seam, 0.42, high + 0.005, 0.52, low - 0.005, r=0.01)
    s.line(s.glint, [(0.40, y), (0.54, y)], 0.02)


SHAPES: dict[str, Callable[[Sketch, int], None]] = {
    "handbags": _handbag, "evening clutches": _clutch, "shoes": _shoe, "boots": _boots, "scarves": _scarf,
    "jewellery": _jewellery, "watches": _watch, "dresses": _dress, "knitwear": _knitwear, "outerwear": _outerwear,
    "tailoring": _tailoring, "swimwear": _swimwear, "sunglasses": _sunglasses, "belts": _belt,
}

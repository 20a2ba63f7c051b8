"""Drawn scenes for the sample data set: a landscape and things in it, each in a box that is known."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from PIL import Image, ImageDraw

Shape = tuple[Literal["ellipse", "polygon"], str, tuple[float, ...]]
Landscape = Literal["coast", "meadow", "town", "dusk", "night", "snow"]

WIDTH, HEIGHT = 480, 360
FINE = 2
"""Drawn twice as large and made smaller, so that edges are smooth."""

_LANDSCAPES: dict[Landscape, tuple[str, str, str, str]] = {
    # The sky's top and bottom, far hills, the ground.
    "coast": ("#5aa9e6", "#d7f0fb", "#8fb996", "#2274a5"),
    "meadow": ("#74b9ff", "#eaf6ff", "#86b86b", "#4f9d4f"),
    "town": ("#a9c9e8", "#f6efe2", "#b9b4a7", "#8a8d91"),
    "dusk": ("#3d348b", "#f7b267", "#7b506f", "#4b3b52"),
    "night": ("#0b132b", "#3a506b", "#1c2541", "#101a2e"),
    "snow": ("#9fb8d0", "#f4f8fb", "#c9d6e2", "#eef3f7"),
}

THINGS: dict[str, tuple[float, tuple[Shape, ...]]] = {
    # Width divided by height, and shapes in shares of the box, which they fill to all four sides.
    "sun": (1.0, (("ellipse", "#ffd23f", (0, 0, 1, 1)), ("ellipse", "#ffe27a", (0.15, 0.15, 0.85, 0.85)))),
    "moon": (1.0, (("ellipse", "#e8e8dc", (0, 0, 1, 1)), ("ellipse", "#cfcfc4", (0.2, 0.25, 0.45, 0.5)))),
    "house": (
        1.0,
        (
            ("polygon", "#f4e4c1", (0.08, 0.4, 0.92, 0.4, 0.92, 1, 0.08, 1)),
            ("polygon", "#b5482f", (0, 0.42, 0.5, 0, 1, 0.42)),
            ("polygon", "#6b4226", (0.42, 0.65, 0.6, 0.65, 0.6, 1, 0.42, 1)),
            ("polygon", "#8ecae6", (0.16, 0.55, 0.34, 0.55, 0.34, 0.73, 0.16, 0.73)),
            ("polygon", "#8ecae6", (0.68, 0.55, 0.86, 0.55, 0.86, 0.73, 0.68, 0.73)),
        ),
    ),
    "tree": (
        0.75,
        (
            ("polygon", "#7a5230", (0.42, 0.5, 0.58, 0.5, 0.6, 1, 0.4, 1)),
            ("ellipse", "#2d6a4f", (0, 0.12, 0.66, 0.7)),
            ("ellipse", "#40916c", (0.3, 0.1, 1, 0.72)),
            ("ellipse", "#52b788", (0.2, 0, 0.8, 0.45)),
        ),
    ),
    "balloon": (
        0.72,
        (
            ("polygon", "#6b4226", (0.22, 0.62, 0.26, 0.6, 0.42, 0.86, 0.38, 0.88)),
            ("polygon", "#6b4226", (0.78, 0.62, 0.74, 0.6, 0.58, 0.86, 0.62, 0.88)),
            ("ellipse", "#e63946", (0, 0, 1, 0.74)),
            ("ellipse", "#ffb703", (0.2, 0, 0.8, 0.74)),
            ("ellipse", "#e63946", (0.38, 0, 0.62, 0.74)),
            ("polygon", "#8d5524", (0.36, 0.85, 0.64, 0.85, 0.6, 1, 0.4, 1)),
        ),
    ),
    "boat": (
        1.15,
        (
            ("polygon", "#5e3a1e", (0.46, 0.02, 0.5, 0.02, 0.5, 0.74, 0.46, 0.74)),
            ("polygon", "#ffffff", (0.53, 0, 0.53, 0.62, 0.95, 0.62)),
            ("polygon", "#f1faee", (0.43, 0.1, 0.43, 0.62, 0.1, 0.62)),
            ("polygon", "#c1121f", (0, 0.7, 1, 0.7, 0.84, 1, 0.16, 1)),
        ),
    ),
    "car": (
        2.0,
        (
            ("polygon", "#3a86ff", (0.2, 0.42, 0.34, 0, 0.7, 0, 0.84, 0.42)),
            ("polygon", "#dbeafe", (0.28, 0.4, 0.38, 0.08, 0.5, 0.08, 0.5, 0.4)),
            ("polygon", "#dbeafe", (0.54, 0.4, 0.54, 0.08, 0.67, 0.08, 0.76, 0.4)),
            ("polygon", "#2667ff", (0, 0.4, 1, 0.4, 1, 0.82, 0, 0.82)),
            ("ellipse", "#1b1b1e", (0.12, 0.62, 0.31, 1)),
            ("ellipse", "#1b1b1e", (0.69, 0.62, 0.88, 1)),
        ),
    ),
}


@dataclass(frozen=True, slots=True)
class Thing:
    """What is drawn, its top-left corner and its height, in pixels."""

    label: str
    x: int
    y: int
    height: int

    @property
    def width(self) -> int:
        return round(THINGS[self.label][0] * self.height)


def draw_scene(landscape: Landscape, things: Sequence[Thing], place: str = "") -> Image.Image:
    """An RGB picture of `WIDTH` by `HEIGHT` pixels; the same bytes each time. Each `place` has a view of its own."""
    picture = _background(landscape, random.Random(place))
    _draw(picture, things)
    return picture.reduce(FINE)


def draw_cutout(things: Sequence[Thing]) -> Image.Image:
    """The things alone, RGBA, on nothing."""
    picture = Image.new("RGBA", (WIDTH * FINE, HEIGHT * FINE))
    _draw(picture, things)
    return picture.reduce(FINE)


def _background(landscape: Landscape, chance: random.Random) -> Image.Image:
    """Hills, clouds and patches of ground lie elsewhere in each, so that no two pictures look like copies."""
    top, bottom, hills, ground = _LANDSCAPES[landscape]
    size = width, height = WIDTH * FINE, HEIGHT * FINE
    fade = Image.linear_gradient("L").resize((1, height)).resize(size, Image.Resampling.NEAREST)
    picture = Image.composite(Image.new("RGB", size, bottom), Image.new("RGB", size, top), fade)
    draw = ImageDraw.Draw(picture)

    def oval(x: float, y: float, wide: float, high: float, fill: str) -> None:
        """Its middle and its size, in shares of the picture."""
        draw.ellipse(
            ((x - wide / 2) * width, (y - high / 2) * height, (x + wide / 2) * width, (y + high / 2) * height),
            fill=fill,
        )

    for _ in range(5):
        oval(chance.uniform(0, 1), chance.uniform(0, 0.5), chance.uniform(0.2, 0.5), chance.uniform(0.06, 0.16), bottom)
    for x in (0.1, 0.5, 0.9):
        oval(x + chance.uniform(-0.2, 0.2), 0.75, chance.uniform(0.3, 0.8), chance.uniform(0.2, 0.7), hills)
    draw.rectangle((0, 0.72 * height, width, height), fill=ground)
    for _ in range(6):
        oval(chance.uniform(0, 1), chance.uniform(0.78, 1), chance.uniform(0.1, 0.4), chance.uniform(0.03, 0.09), hills)
    return picture


def _draw(picture: Image.Image, things: Sequence[Thing]) -> None:
    draw = ImageDraw.Draw(picture)
    for thing in things:
        # Pillow fills the last pixel of a shape too.
        width, height = thing.width * FINE - 1, thing.height * FINE - 1
        for kind, color, shares in THINGS[thing.label][1]:
            points = [
                (thing.x * FINE + x * width, thing.y * FINE + y * height)
                for x, y in zip(shares[::2], shares[1::2], strict=True)
            ]
            if kind == "ellipse":
                draw.ellipse([*points[0], *points[1]], fill=color)
            else:
                draw.polygon(points, fill=color)

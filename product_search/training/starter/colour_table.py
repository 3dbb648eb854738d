"""Which colour people call which RGB value: the table that image colours are read from.

The names are those of the xkcd colour survey (CC0), as the Python package matplotlib carries them:
each is the mean of what thousands of people called by it.
"""

from __future__ import annotations

import numpy as np
from matplotlib.colors import XKCD_COLORS, to_rgb
from numpy.typing import NDArray

from product_search.encoders.colour import COLOURS, TABLE_BITS, Shares, lab

SPREAD = 7.0  # in CIELAB units
LEAST_CHROMA = 15.0  # of a colour that is not black, white or grey
DARKEST_WHITE = 82.0  # lightness; what is lighter and grey is called white
LIGHTNESS_SHARE = 0.5  # light and shadow change lightness more than they change hue
# Shadows and dim rooms make greys and browns of everything; people rarely search for them.
PRIORS = {"灰": 0.35, "棕": 0.6, "黑": 1.2, "白": 1.1}

_HEADS = {
    "红": "red maroon burgundy crimson scarlet",
    "橙": "orange",
    "黄": "yellow mustard gold",
    "绿": "green olive lime",
    "青": "cyan teal turquoise aqua",
    "蓝": "blue navy",
    "紫": "purple violet lavender lilac plum",
    "粉": "pink magenta",
    "棕": "brown tan khaki chocolate",
    "黑": "black",
    "白": "white cream ivory",
    "灰": "grey silver",
}
# A name counts if all its words before the last are among these: "greyish green" does not.
_SHADES = (
    "dark light pale bright deep very medium royal sky forest hot baby grass sea dull faded soft "
    "vivid clear strong rich pastel mid true pure primary dusty brick blood cherry wine tomato "
    "midnight electric cobalt navy steel denim leaf apple bottle hunter emerald kelly army moss "
    "sage mint bubblegum rose barbie carnation pumpkin burnt lemon sunflower canary eggplant grape "
    "milk sandy off charcoal dirty warm cool cadet lightish darkish powder ocean french prussian "
    "ultramarine cerulean cornflower indigo"
)
# The survey has few neutral names; photos of white and black things have many.
_NEUTRALS = {
    "黑": [(10, 10, 10), (30, 30, 32)],
    "白": [(252, 252, 252), (235, 233, 230), (222, 219, 212)],
    "灰": [(90, 90, 92), (140, 140, 140), (180, 180, 180)],
}


def prototypes() -> dict[str, NDArray[np.float64]]:
    """Return, by colour, RGB values (n, 3) in 0 to 255 that people call by it."""
    heads = {head: colour for colour, words in _HEADS.items() for head in words.split()}
    modifiers = frozenset(_SHADES.split())
    found: dict[str, list[tuple[float, ...]]] = {
        colour: list(_NEUTRALS.get(colour, [])) for colour in COLOURS
    }
    for name, value in XKCD_COLORS.items():
        *shades, head = name.removeprefix("xkcd:").replace("gray", "grey").split()
        if head in heads and modifiers.issuperset(shades):
            found[heads[head]].append(tuple(255 * channel for channel in to_rgb(value)))
    return {
        colour: np.array([value for value in values if _is_plain(colour, value)])
        for colour, values in found.items()
    }


def _is_plain(colour: str, value: tuple[float, ...]) -> bool:
    """Return whether it is no tint of white: "very light pink" would colour all paper."""
    lightness, green_red, blue_yellow = lab(np.array(value))
    if colour in _NEUTRALS:
        return bool(colour != "灰" or lightness < DARKEST_WHITE)
    return bool(np.hypot(green_red, blue_yellow) > LEAST_CHROMA)


def colour_table() -> Shares:
    """Compute, for each RGB cell, its share of each colour: (2 ** (3 * TABLE_BITS), 12)."""
    steps = 2**TABLE_BITS
    middles = (np.arange(steps) + 0.5) * (256 / steps)
    cells = np.stack(np.meshgrid(middles, middles, middles, indexing="ij"), axis=-1).reshape(-1, 3)
    weights = np.array([LIGHTNESS_SHARE, 1.0, 1.0])
    seen, by_colour = lab(cells) * weights, prototypes()
    squares = np.stack(
        [
            ((seen[:, None] - lab(by_colour[colour])[None] * weights) ** 2).sum(axis=-1).min(axis=1)
            for colour in COLOURS
        ],
        axis=1,
    )
    nearest = squares.min(axis=1, keepdims=True)
    shares = np.exp((nearest - squares) / (2 * SPREAD**2))
    shares *= np.array([PRIORS.get(colour, 1.0) for colour in COLOURS])
    return np.asarray(shares / shares.sum(axis=1, keepdims=True), np.float32)

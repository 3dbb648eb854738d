"""The ground behind a cut-out: an image with transparency is seen as a person would show it."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageFilter

# Measured over cut-outs of the sample catalog, as they are, lightened, darkened and whitened:
# white finds all but the white ones best, and those are found best on this grey.
WHITE, GREY = 255, 192
_VISIBLE = 128  # of 255: alpha from which a pixel counts as part of the thing
_VANISHES = 8  # levels between a pixel and the white behind it that nobody sees
_MAX_SIDE = 256  # the outline of a larger image is judged on a smaller copy


def on_ground(image: Image.Image) -> Image.Image:
    """Return the RGBA image as RGB over white, or over grey where its outline vanishes in white."""
    level = GREY if _vanishes_on_white(image) else WHITE
    canvas = Image.new("RGBA", image.size, (level, level, level, 255))
    canvas.alpha_composite(image)
    return canvas.convert("RGB")


def _vanishes_on_white(image: Image.Image) -> bool:
    small = image.copy()
    small.thumbnail((_MAX_SIDE, _MAX_SIDE), Image.Resampling.NEAREST)
    visible = small.getchannel("A").point([0] * _VISIBLE + [255] * (256 - _VISIBLE))
    padded = Image.new("L", (small.width + 2, small.height + 2))
    padded.paste(visible, (1, 1))
    inner = np.asarray(padded.filter(ImageFilter.MinFilter(3)))[1:-1, 1:-1]
    outline = (np.asarray(visible) > 0) & (inner == 0)
    whiteness = np.asarray(small)[..., :3].min(axis=2)[outline]
    return bool(whiteness.size) and bool(np.mean(whiteness > 255 - _VANISHES) > 0.5)

"""The ground behind a cut-out: an image with transparency is seen as a person would show it."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageFilter

# Measured over cut-outs of the sample catalog, as they are, lightened, darkened and whitened:
# white finds all but the white ones best, and those are found best on this grey.
WHITE, GREY = 255, 192
_VANISHES = 12  # levels between a thing and the ground behind it that hardly anybody sees
_OUTLINE, _AREA = 0.5, 0.9  # shares of a thing that may vanish in white before it is put on grey
_FAINT = 16  # of 255: alpha below which a pixel is no part of the thing
_MAX_SIDE = 256  # a larger image is judged by a smaller copy


def on_ground(image: Image.Image) -> Image.Image:
    """Return the RGBA image as RGB over white, or over grey where it vanishes in white."""
    return _over(image, GREY if _vanishes_on_white(image) else WHITE)


def _over(image: Image.Image, level: int) -> Image.Image:
    canvas = Image.new("RGBA", image.size, (level, level, level, 255))
    canvas.alpha_composite(image)
    return canvas.convert("RGB")


def _vanishes_on_white(image: Image.Image) -> bool:
    """Tell whether most of the outline, or nearly all of the thing, is white on white."""
    small = image.copy()
    small.thumbnail((_MAX_SIDE, _MAX_SIDE), Image.Resampling.NEAREST)
    alpha = np.asarray(small.getchannel("A"))
    # Of a veil or a glass no pixel is opaque: what is half as opaque as the densest counts.
    visible = alpha >= max(int(alpha.max(initial=0)) // 2, _FAINT)
    padded = Image.fromarray(np.pad(visible, 1).astype(np.uint8))
    inner = np.asarray(padded.filter(ImageFilter.MinFilter(3)))[1:-1, 1:-1] > 0
    vanishes = np.asarray(_over(small, WHITE)).min(axis=2) > WHITE - _VANISHES
    outline = visible & ~inner
    return bool(visible.any()) and bool(
        vanishes[outline].mean() > _OUTLINE or vanishes[visible].mean() > _AREA
    )

"""Metadata and what hides beside the pixels taken out of pictures, whose pixels stay as coded."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping

from product_search.images.cleaning import gif, jpeg, png, webp
from product_search.images.formats import MEDIA_TYPES

# Raised when another part of a file is kept than before: tags of what is served have it, so that
# nobody's cache shows what is taken out by now.
VERSION = 1

_CLEANERS: Mapping[str, Callable[[bytes], bytes]] = {
    MEDIA_TYPES["JPEG"]: jpeg.clean,
    MEDIA_TYPES["PNG"]: png.clean,
    MEDIA_TYPES["WEBP"]: webp.clean,
    MEDIA_TYPES["GIF"]: gif.clean,
}


def clean(content: bytes, media_type: str) -> bytes | None:
    """Return the picture's file with what shows it, and nothing else.

    Kept are its coded pixels as they are, its colour profile, how it is turned, and, where the
    file says so, that a model made it. All other metadata, previews, further pictures and
    whatever follows the picture's end are left out.

    Args:
        content: a file that `decode` has taken.
        media_type: the type that its bytes tell.

    Returns:
        The clean file; None where only decoding could tell the picture from the rest: of other
        formats (whose metadata lies anywhere in them), and of files with unusual parts.
    """
    cleaner = _CLEANERS.get(media_type)
    if cleaner is None:
        return None
    try:
        return cleaner(content)
    except (ValueError, IndexError, struct.error):
        return None

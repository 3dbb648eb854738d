"""What a clean picture still says of itself: how it is turned, and that a model made it."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from product_search.images.provenance import mark

_ORIENTATION, _SHORT = 0x0112, 3


@dataclass(frozen=True)
class Kept:
    """The metadata that a clean picture has, written anew.

    Attributes:
        orientation: EXIF's, from 1 (upright) to 8.
        is_generated: whether its file says that a model made it.
    """

    orientation: int
    is_generated: bool

    @property
    def exif(self) -> bytes:
        """TIFF's structure with the orientation alone; empty for an upright picture."""
        if self.orientation == 1:
            return b""
        entry = struct.pack(">HHIHH", _ORIENTATION, _SHORT, 1, self.orientation, 0)
        return b"MM\0*" + struct.pack(">IH", 8, 1) + entry + bytes(4)

    @property
    def xmp(self) -> bytes:
        """A packet that says that a model made the picture; empty for others."""
        return mark() if self.is_generated else b""

"""Clean WebP files: the chunks that show the picture, its frames among them."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from product_search.images.cleaning.kept import Kept
from product_search.images.decoding import find_orientation
from product_search.images.provenance import says_generated

_HEADER, _FRAME_HEADER, _EXTENDED_BYTES = 12, 16, 10
_PIXELS = (b"VP8 ", b"VP8L", b"ALPH")
_SHOWN = (*_PIXELS, b"ANIM", b"ICCP")
_HAS_PROFILE, _HAS_ALPHA, _HAS_EXIF, _HAS_XMP, _HAS_FRAMES = 0x20, 0x10, 0x08, 0x04, 0x02
_MAX_CHUNKS = 20_000


def clean(content: bytes) -> bytes:
    """Return the WebP without metadata, unknown chunks and whatever follows its end.

    Raises ValueError at a chunk that is cut short, too many of them, or metadata to write in a
    file of the simple form, which has no place for it.
    """
    kept = Kept(find_orientation(content), says_generated(content))
    size = struct.unpack_from("<I", content, 4)[0] + 8
    metadata = [(b"EXIF", kept.exif), (b"XMP ", kept.xmp)]
    parts: list[bytes] = []
    is_extended = False
    for kind, body in _chunks(content[_HEADER:size]):
        if kind == b"VP8X":
            parts.append(_chunk(kind, _extended(body, kept)))
            is_extended = True
        elif kind == b"ANMF":
            parts.append(_chunk(kind, _frame(body)))
        elif kind in _SHOWN:
            parts.append(_chunk(kind, body))
    written = [_chunk(kind, body) for kind, body in metadata if body]
    if written and not is_extended:
        raise ValueError("no place for metadata")
    shown = b"WEBP" + b"".join([*parts, *written])
    return b"RIFF" + struct.pack("<I", len(shown)) + shown


def _chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield each chunk's kind and body."""
    at = 0
    for _ in range(_MAX_CHUNKS):
        if at + 8 > len(content):
            return
        kind, length = struct.unpack_from("<4sI", content, at)
        body = content[at + 8 : at + 8 + length]
        if len(body) < length:
            raise ValueError("cut short")
        yield kind, body
        at += 8 + length + length % 2
    raise ValueError("too many chunks")


def _extended(body: bytes, kept: Kept) -> bytes:
    """Return the header of the extended form with the flags of what is kept."""
    flags = body[0] & (_HAS_PROFILE | _HAS_ALPHA | _HAS_FRAMES)
    flags |= (_HAS_EXIF if kept.exif else 0) | (_HAS_XMP if kept.xmp else 0)
    return bytes((flags, 0, 0, 0)) + body[4:_EXTENDED_BYTES]


def _frame(body: bytes) -> bytes:
    inner = (_chunk(kind, one) for kind, one in _chunks(body[_FRAME_HEADER:]) if kind in _PIXELS)
    return body[:_FRAME_HEADER] + b"".join(inner)


def _chunk(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("<I", len(body)) + body + bytes(len(body) % 2)

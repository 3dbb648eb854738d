"""Clean PNG files: the chunks that show the picture, its frames among them."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from functools import cache

from PIL import Image

from product_search.images.cleaning.kept import Kept
from product_search.images.decoding import orientation
from product_search.images.provenance import TEXTS, XMP_KEY, own_packet, says_generated

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CRITICAL = b"IHDR", b"PLTE", b"IDAT", b"fdAT"
# Chunks that show the picture, and the most bytes of each: more would be something else.
_LENGTHS = {
    **{b"IHDR": 13, b"PLTE": 768, b"IDAT": 2**31 - 1},
    **{b"acTL": 8, b"fcTL": 26, b"fdAT": 2**31 - 1},
    **{b"tRNS": 256, b"cHRM": 32, b"gAMA": 4, b"iCCP": 2**31 - 1, b"sBIT": 4, b"sRGB": 1},
    **{b"bKGD": 6, b"pHYs": 9, b"cICP": 4, b"mDCV": 24, b"cLLI": 8},
}
_TOLD = (b"eXIf", b"tEXt", b"zTXt", b"iTXt")  # where Pillow looks for an orientation
_MAX_CHUNKS = 20_000


def clean(content: bytes) -> bytes:
    """Return the PNG without metadata and whatever follows its end.

    A picture of our own keeps the texts that we gave it (provenance.as_png).

    Raises ValueError at a chunk that is none of a picture, too many of them, or no end.
    """
    chunks = list(_chunks(content))
    told = [content[start:end] for kind, start, end in chunks if kind in _TOLD]
    is_generated = says_generated(content)
    own = _own_texts(told) if is_generated else []
    kept = Kept(_orientation(told), is_generated and not own)
    parts = [_SIGNATURE]
    for kind, start, end in chunks:
        most = _LENGTHS.get(kind)
        if most is not None and end - start - 12 <= most:
            parts.append(content[start:end])
        elif kind in _CRITICAL or not kind[0] & 0x20:
            raise ValueError("an unknown chunk")
        if kind == b"IHDR":
            parts += own + _metadata(kept)
    return b"".join([*parts, _chunk(b"IEND", b"")])


def _chunks(content: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield each chunk's kind, where it begins and where it ends, up to the picture's end."""
    at = len(_SIGNATURE)
    for _ in range(_MAX_CHUNKS):
        length, kind = struct.unpack_from(">I4s", content, at)
        if kind == b"IEND":
            return
        end = at + 12 + length
        if end > len(content):
            break
        yield kind, at, end
        at = end
    raise ValueError("no end")


def _metadata(kept: Kept) -> list[bytes]:
    found = [_chunk(b"eXIf", kept.exif)] if kept.exif else []
    return found + ([_chunk(b"iTXt", _text(XMP_KEY, kept.xmp))] if kept.xmp else [])


def _own_texts(told: list[bytes]) -> list[bytes]:
    """Return the texts of a picture that `provenance.as_png` wrote; none of any other picture."""
    packet = _chunk(b"iTXt", _text(XMP_KEY, own_packet()))
    if packet not in told:
        return []
    names = tuple(name.encode() + b"\0" for name in TEXTS)
    return [one for one in told if one == packet or one[4:].startswith(_itxt(names))]


def _itxt(names: tuple[bytes, ...]) -> tuple[bytes, ...]:
    return tuple(b"iTXt" + name for name in names)


def _text(name: str, text: bytes) -> bytes:
    """Return the body of an iTXt chunk: not compressed, in no language."""
    return name.encode() + b"\0" * 5 + text


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", len(body), kind) + body + struct.pack(">I", zlib.crc32(kind + body))


def _orientation(told: list[bytes]) -> int:
    """Return how these chunks turn the picture, as Pillow takes them, without the pixels."""
    if not told:
        return 1
    head, tail = _dot()
    return orientation(Image.open(io.BytesIO(b"".join([head, *told, tail])), formats=["PNG"]))


@cache
def _dot() -> tuple[bytes, bytes]:
    """Return a PNG of one pixel, cut in two before its pixel."""
    buffer = io.BytesIO()
    Image.new("L", (1, 1)).save(buffer, "PNG")
    content = buffer.getvalue()
    pixel = content.index(b"IDAT") - 4
    return content[:pixel], content[pixel:]

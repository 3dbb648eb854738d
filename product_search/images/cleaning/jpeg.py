"""Clean JPEG files: the segments that show the picture."""

from __future__ import annotations

from product_search.images.cleaning.kept import Kept
from product_search.images.decoding import find_orientation
from product_search.images.jpeg_end import END, is_frame, spans
from product_search.images.provenance import says_generated

_START = b"\xff\xd8"
_SCAN, _END = 0xDA, 0xD9
# Huffman tables, arithmetic conditioning, quantisation, number of lines, restart interval.
_TABLES = (0xC4, 0xCC, 0xDB, 0xDC, 0xDD)
_APP0, _APP1, _APP2, _APP14, _APP15, _COMMENT = 0xE0, 0xE1, 0xE2, 0xEE, 0xEF, 0xFE
_EXIF, _XMP = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"
_JFIF, _JFIF_BYTES = b"JFIF\0", 14  # without its preview
_PROFILE = b"ICC_PROFILE\0"
_ADOBE, _ADOBE_BYTES = b"Adobe", 12  # tells how colours are coded
_MAX_SEGMENTS = 5_000  # more than costs.py lets in before the first scan


def clean(content: bytes) -> bytes:
    """Return the JPEG without metadata, previews, remarks and whatever follows its end.

    Raises ValueError at a marker that is none of a picture, or too many of them.
    """
    kept = Kept(find_orientation(content), says_generated(content))
    head, body = [_START], _metadata(kept)
    coded: int | None = None  # where the coded pixels of the last scan begin
    for number, (kind, marker, start, end) in enumerate(spans(content)):
        if number >= _MAX_SEGMENTS:
            raise ValueError("too many segments")
        if coded is not None:
            body.append(content[coded:marker])
            coded = None
        if kind == _END:
            break
        segment = _shown(kind, content[start:end])
        if segment is not None:
            (head if kind == _APP0 else body).append(_segment(kind, segment))
        if kind == _SCAN:
            coded = end
    if coded is not None:  # the file lacks its end
        body.append(content[coded:])
    return b"".join([*head, *body, END])


def _metadata(kept: Kept) -> list[bytes]:
    texts = ((_EXIF, kept.exif), (_XMP, kept.xmp))
    return [_segment(_APP1, name + text) for name, text in texts if text]


def _shown(kind: int, body: bytes) -> bytes | None:
    """Return what of a segment shows the picture; None for one that doesn't."""
    if kind == _SCAN or kind in _TABLES or is_frame(kind):
        return body
    if kind == _APP0 and body.startswith(_JFIF) and len(body) >= _JFIF_BYTES:
        return body[: _JFIF_BYTES - 2] + b"\0\0"
    if kind == _APP2 and body.startswith(_PROFILE):
        return body
    if kind == _APP14 and body.startswith(_ADOBE):
        return body[:_ADOBE_BYTES]
    if _APP0 <= kind <= _APP15 or kind == _COMMENT:
        return None
    raise ValueError("an unknown segment")


def _segment(kind: int, body: bytes) -> bytes:
    return bytes((0xFF, kind)) + (len(body) + 2).to_bytes(2, "big") + body

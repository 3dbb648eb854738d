"""JPEG files that lack their end: whether what is there is nearly the whole image."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
from PIL import Image

END = b"\xff\xd9"
MAX_MISSING = 1 / 8  # of the area: more is no missing end
_GREY, _NEAR = 128, 3  # what the decoder fills missing blocks with
_BAND = 8  # rows: a block
_SCAN, _END = 0xDA, 0xD9
_NO_FRAMES = (0xC4, 0xC8, 0xCC)  # tables and an extension, among the markers of frames
# A marker, but for those that stand within coded pixels: stuffing, restarts, fill bytes.
_MARKER = re.compile(rb"\xff([^\x00\x01\xd0-\xd8\xff])", re.DOTALL)
_PROGRESSIVE = (0xC2, 0xCA)  # by Huffman and by arithmetic codes
_LAST_COEFFICIENT = 63


def lacks_end(content: bytes) -> bool:
    """Tell whether the bytes begin as a JPEG and hold no end-of-image marker.

    What may follow the marker, and one in a preview within the metadata, makes no difference.
    """
    if not content.startswith(b"\xff\xd8") or content.endswith(END):
        return False
    return all(kind != _END for kind, _ in segments(content))


def is_nearly_whole(image: Image.Image, content: bytes) -> bool:
    """Tell whether little is missing of a JPEG that was decoded with END put behind its bytes.

    Of one in several scans every scan has begun, so that only fine detail may be missing; of one
    in a single scan at most MAX_MISSING of the area, which the decoder has left grey at the bottom.
    """
    if _is_progressive(content):
        return _has_all_scans(content)
    return _has_all_components(content) and _grey_share(image) <= MAX_MISSING


def has_several_scans(content: bytes) -> bool:
    """Tell whether a JPEG has more than one scan: its decoder then holds all coefficients.

    The first scan tells: it is progressive, or does not hold all components.
    """
    components = 0
    for kind, body in segments(content):
        if kind in _PROGRESSIVE:
            return True
        if is_frame(kind) and len(body) >= 6:
            components = body[5]
        if kind == _SCAN:
            return not body or body[0] < components
    return False


def _grey_share(image: Image.Image) -> float:
    """Return the share of the area that is grey at the end, in the order of decoding."""
    width, height = image.size
    missing = 0
    for bottom in range(height, 0, -_BAND):
        band = np.asarray(image.crop((0, max(bottom - _BAND, 0), width, bottom)), np.int16)
        near = np.abs(band - _GREY) <= _NEAR
        columns = np.asarray(near.reshape(len(band), width, -1).all(axis=(0, 2)))
        trailing = width if columns.all() else int(np.argmin(columns[::-1]))
        missing += trailing * len(band)
        if trailing < width:
            break
    return missing / (height * width)


def _is_progressive(content: bytes) -> bool:
    return any(kind in _PROGRESSIVE for kind, _ in segments(content))


def _has_all_scans(content: bytes) -> bool:
    """Tell whether the scans that have begun reach the last bit of every coefficient."""
    components: list[int] = []
    finest: dict[tuple[int, int], int] = {}
    for kind, body in segments(content):
        if is_frame(kind) and len(body) >= 6:
            components = [body[6 + 3 * n] for n in range(body[5]) if 6 + 3 * n < len(body)]
        elif kind == _SCAN and body and len(body) >= 4 + 2 * body[0]:
            named = [body[1 + 2 * n] for n in range(body[0])]
            first, last, bits = body[-3], body[-2], body[-1] & 15
            for place in range(first, min(last, _LAST_COEFFICIENT) + 1):
                finest.update({(name, place): bits for name in named})
    places = range(_LAST_COEFFICIENT + 1)
    return bool(components) and all(
        finest.get((name, place)) == 0 for name in components for place in places
    )


def _has_all_components(content: bytes) -> bool:
    """Tell whether a scan of each component has begun, where they come one after another."""
    components: set[int] = set()
    begun: set[int] = set()
    for kind, body in segments(content):
        if is_frame(kind) and len(body) >= 6:
            components = set(body[6::3][: body[5]])
        elif kind == _SCAN and body:
            begun |= set(body[1::2][: body[0]])
    return components <= begun


def is_frame(kind: int) -> bool:
    """Tell whether a segment of this kind is the header of a frame, whatever its coding."""
    return 0xC0 <= kind <= 0xCF and kind not in _NO_FRAMES


def segments(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the marker segments of the image with their bodies, coded pixels passed over."""
    return ((kind, content[start:end]) for kind, _, start, end in spans(content))


def spans(content: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Yield the marker segments: each one's kind, and where marker, body and rest begin."""
    at = 2
    while marker := _MARKER.search(content, at):
        kind, at = marker[1][0], marker.end()
        if kind == _END:
            yield kind, marker.start(), at, at
            return
        length = int.from_bytes(content[at : at + 2], "big")
        yield kind, marker.start(), at + 2, at + max(length, 2)
        at += max(length, 2)

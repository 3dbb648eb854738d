"""What decoding a file may cost beyond its pixels, told by its structure before it is decoded."""

from __future__ import annotations

import struct

from product_search.errors import ImageTooComplex
from product_search.images import jpeg_end

# Cameras and programs write up to 13 scans, and a few hundred segments with all metadata.
MAX_SCANS = 100
_MAX_SEGMENTS = 4_000
_BASELINE_TO_PROGRESSIVE = (0xC0, 0xC1, 0xC2)
_SCAN = 0xDA
# Above these a file is not refused, but nothing is said of its cost.
_MAX_METADATA = 256 * 1024  # bytes
_MAX_PROFILE = 16 * 1024  # bytes of a PNG's profile, which may be a megabyte unpacked
_MAX_CHUNKS = 3_000
_MAX_UNPACKED_CHUNKS = 16
_PNG = b"\x89PNG\r\n\x1a\n"
_UNPACKED = (b"iCCP", b"zTXt", b"iTXt")
_PIXELS, _END, _FRAMES = b"IDAT", b"IEND", b"acTL"
_LOSSY, _WEBP_CHUNKS = b"VP8 ", (b"VP8 ", b"VP8X", b"ICCP", b"EXIF", b"XMP ")


def passes(content: bytes) -> int | None:
    """Return how often decoding goes over the pixels, and does little else.

    None where that can't be told: of formats with a structure of their own, of files with much
    beside the pixels.

    Raises:
        ImageTooComplex: a JPEG of more scans, or more segments, than any honest one has.
    """
    if content.startswith(b"\xff\xd8"):
        return _jpeg_passes(content)
    if content.startswith(_PNG):
        return _png_passes(content)
    if content.startswith(b"RIFF") and content[8:12] == b"WEBP":
        return _webp_passes(content)
    return None


def _jpeg_passes(content: bytes) -> int | None:
    scans = metadata = 0
    is_simple = True
    for number, (kind, body) in enumerate(jpeg_end.segments(content)):
        if kind == _SCAN:
            scans += 1
        elif not scans:
            metadata += len(body)
        if jpeg_end.is_frame(kind) and kind not in _BASELINE_TO_PROGRESSIVE:
            is_simple = False  # arithmetic codes, or lossless
        if scans > MAX_SCANS or number >= _MAX_SEGMENTS:
            most = f"{MAX_SCANS} 次扫描、{_MAX_SEGMENTS} 段"
            raise ImageTooComplex(f"图片过于复杂：JPEG 最多 {most}")
        if scans == 1 and kind == _SCAN and not _is_read_on(content):
            break
    return max(scans, 1) if is_simple and metadata <= _MAX_METADATA else None


def _is_read_on(content: bytes) -> bool:
    """Tell whether a JPEG is read beyond its first scan: by its decoder, or to find its end."""
    return jpeg_end.has_several_scans(content) or not content.endswith(jpeg_end.END)


def _png_passes(content: bytes) -> int | None:
    at, unpacked, metadata = len(_PNG), 0, 0
    for _ in range(_MAX_CHUNKS):
        if at + 8 > len(content):
            return 1  # cut short: the decoder will say so
        length, kind = struct.unpack_from(">I4s", content, at)
        if kind == _END:
            return 1
        metadata += 0 if kind == _PIXELS else length
        unpacked += kind in _UNPACKED
        is_long_profile = kind == b"iCCP" and length > _MAX_PROFILE
        if kind == _FRAMES or is_long_profile:
            return None
        if metadata > _MAX_METADATA or unpacked > _MAX_UNPACKED_CHUNKS:
            return None
        at += 12 + length
    return None


def _webp_passes(content: bytes) -> int | None:
    """Return 1 for a lossy image without transparency: what is lossless has tables of its own."""
    at, lossy, metadata = 12, 0, 0
    while at + 8 <= len(content):
        kind, length = struct.unpack_from("<4sI", content, at)
        if kind not in _WEBP_CHUNKS:
            return None
        lossy += kind == _LOSSY
        metadata += 0 if kind == _LOSSY else 8 + length
        if lossy > 1 or metadata > _MAX_METADATA:
            return None
        at += 8 + length + length % 2
    return 1 if lossy else None

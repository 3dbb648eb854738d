"""Pictures whose files tell more than the picture, in every place that a format has for it."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Mapping

from PIL import Image

from tests.unit.images.profiles import DISPLAY_P3, rgb_profile
from tests.unit.pictures import animated, encoded, four_colours

# What must not be seen by anybody. The upper bytes keep it from being text by chance.
SECRET = b"<script>GPS 39.9042N</script>\xc3\xa9"
PROFILE = rgb_profile(DISPLAY_P3, 2.2)
ORIENTATION = 6


def exif() -> bytes:
    """EXIF with an orientation, a place, a maker's note and a preview."""
    told = Image.Exif()
    told[0x0112] = ORIENTATION
    told[0x010F] = SECRET.decode()  # Make
    told.get_ifd(0x8825)[29] = SECRET.decode()  # GPSDateStamp
    told.get_ifd(0x8769)[0x927C] = SECRET  # MakerNote
    return told.tobytes()


def xmp() -> bytes:
    """An XMP packet, which says more than whether a model made the picture."""
    return b'<x:xmpmeta xmlns:x="adobe:ns:meta/">' + SECRET + b"</x:xmpmeta>"


def _segment(kind: int, body: bytes) -> bytes:
    return bytes((0xFF, kind)) + struct.pack(">H", len(body) + 2) + body


def jpeg() -> bytes:
    """A JPEG with all that cameras and editors write, remarks between its scans, and a tail."""
    plain = encoded(
        four_colours(), "JPEG", progressive=True, exif=exif(), icc_profile=PROFILE, comment=SECRET
    )
    told = [
        _segment(0xE0, b"JFXX\0\x10" + SECRET),
        _segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + xmp()),
        _segment(0xE2, b"FPXR\0" + SECRET),
        _segment(0xE2, b"ICC_PROFIL\0" + SECRET),
        _segment(0xEB, b"JP\0\0" + SECRET),
        _segment(0xED, b"Photoshop 3.0\x008BIM\x04\x04" + SECRET),
        _segment(0xEE, b"Adobe\0d\0\0\0\0\x01" + SECRET),
        _segment(0xFE, b"*/" + SECRET),
        SECRET.replace(b"\xc3", b""),  # between two segments
    ]
    scan = plain.rindex(b"\xff\xda")
    remark = _segment(0xFE, SECRET)
    return plain[:2] + b"".join(told) + plain[2:scan] + remark + plain[scan:] + SECRET


def chunk(kind: bytes, body: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I4s", len(body), kind) + body + struct.pack(">I", zlib.crc32(kind + body))


def png() -> bytes:
    """A PNG with texts, a time, chunks of a program's own, chunks that are too long, and a tail."""
    plain = encoded(four_colours(), "PNG", exif=exif(), icc_profile=PROFILE)
    told = [
        chunk(b"tEXt", b"Comment\0" + SECRET),
        chunk(b"zTXt", b"Author\0\0" + zlib.compress(SECRET)),
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp()),
        chunk(b"tIME", struct.pack(">HBBBBB", 2026, 5, 17, 8, 30, 0)),
        chunk(b"caBX", SECRET),
        chunk(b"prVt", SECRET),
        chunk(b"pHYs", bytes(9) + SECRET),
    ]
    return plain[:33] + b"".join(told) + plain[33:] + chunk(b"tEXt", SECRET) + SECRET


def webp() -> bytes:
    """A WebP with EXIF, XMP, chunks that nobody knows, and a tail."""
    plain = encoded(four_colours(), "WEBP", exif=exif(), xmp=xmp(), icc_profile=PROFILE)
    return _riff(plain[12:] + _riff_chunk(b"ABCD", SECRET)) + SECRET


def animated_webp() -> bytes:
    """A WebP of two frames, each with a chunk that nobody knows."""
    plain = animated("WEBP")
    parts, at = [], 12
    while at < len(plain):
        kind, length = struct.unpack_from("<4sI", plain, at)
        body = plain[at + 8 : at + 8 + length]
        more = _riff_chunk(b"ABCD", SECRET) if kind == b"ANMF" else b""
        parts.append(_riff_chunk(kind, body + more))
        at += 8 + length + length % 2
    return _riff(b"".join(parts))


def _riff(chunks: bytes) -> bytes:
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WEBP" + chunks


def _riff_chunk(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("<I", len(body)) + body + bytes(len(body) % 2)


def gif() -> bytes:
    """A GIF of two frames with remarks, data of other programs, and a tail."""
    first, second = four_colours("P"), Image.new("P", (48, 32))
    plain = encoded(
        first, "GIF", save_all=True, append_images=[second], duration=100, loop=3, comment=SECRET
    )
    start = plain.index(b"!\xff\x0bNETSCAPE2.0")
    block = bytes((len(SECRET),)) + SECRET + b"\0"
    told = [b"!\xff\x0bXMP DataXMP" + block, b"!\xff\x0bICCRGBG1012\x01p\0", b"!\xfe" + block]
    return plain[:start] + b"".join(told) + plain[start:] + SECRET


def displayed(kind: str) -> bytes:
    """A picture of a format that is shown as another, with EXIF where the format has it."""
    if kind == "BMP":
        return encoded(four_colours(), kind) + SECRET
    if kind == "JXL":
        return encoded(four_colours(), kind, exif=exif(), lossless=True)
    return encoded(four_colours(), kind, exif=exif())


TELLING: Mapping[str, Callable[[], bytes]] = {
    "jpeg": jpeg,
    "png": png,
    "webp": webp,
    "animated webp": animated_webp,
    "gif": gif,
}


def frames(content: bytes) -> list[tuple[bytes, object]]:
    """The pixels of each frame, and for how long it is shown."""
    found = []
    with Image.open(io.BytesIO(content)) as image:
        for number in range(getattr(image, "n_frames", 1)):
            image.seek(number)
            found.append((image.convert("RGBA").tobytes(), image.info.get("duration")))
    return found

"""ZIP files as shops and attackers make them."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable

TABLE = ("products.csv", b"sku,title\nA,\xe4\xb8\x80\n")


def zipped(*files: tuple[str, bytes], packed: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A ZIP of these files, names and order as given."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", packed) as archive:
        for name, content in files:
            entry = zipfile.ZipInfo(name)
            entry.compress_type = packed
            archive.writestr(entry, content)
    return buffer.getvalue()


def named_in(encoding: str, *files: tuple[str, bytes]) -> bytes:
    """As Windows packs it: names in the system's encoding, without the mark of UTF-8."""
    names = [name.encode(encoding) for name, _ in files]
    stand_ins = [chr(ord("A") + number) * len(name) for number, name in enumerate(names)]
    packed = zipped(*zip(stand_ins, (content for _, content in files), strict=True))
    for stand_in, name in zip(stand_ins, names, strict=True):
        packed = packed.replace(stand_in.encode(), name)
    return packed


def encrypted(*files: tuple[str, bytes]) -> bytes:
    """A ZIP that says of each file that it has a password."""
    return _with_flags(zipped(*files), 0x1)


def damaged(content: bytes, at: int) -> bytes:
    """One byte is another."""
    return content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :]


def with_size(content: bytes, name: str, size: int) -> bytes:
    """A ZIP whose directory says of one file that it has so many bytes unpacked."""
    directory = content.index(b"PK\x01\x02")
    entry = content.rindex(b"PK\x01\x02", directory, content.index(name.encode(), directory))
    return content[: entry + 24] + size.to_bytes(4, "little") + content[entry + 28 :]


def without_name(content: bytes) -> bytes:
    """A ZIP of one file whose name is a comment in its directory, and no name."""
    at = content.index(b"PK\x01\x02") + 28
    length = content[at : at + 2]
    return content[:at] + b"\0\0\0\0" + length + content[at + 6 :]


def _with_flags(content: bytes, flags: int) -> bytes:
    changed = bytearray(content)
    for start, offset in [*_places(content, b"PK\x03\x04", 6), *_places(content, b"PK\x01\x02", 8)]:
        changed[start + offset : start + offset + 2] = flags.to_bytes(2, "little")
    return bytes(changed)


def _places(content: bytes, mark: bytes, offset: int) -> Iterable[tuple[int, int]]:
    found = content.find(mark)
    while found >= 0:
        yield found, offset
        found = content.find(mark, found + 1)

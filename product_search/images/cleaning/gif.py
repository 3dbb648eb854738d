"""Clean GIF files: the frames, their timing, and how often they are shown."""

from __future__ import annotations

from product_search.images.decoding import find_orientation
from product_search.images.provenance import says_generated

_SCREEN, _FRAME = 13, 10  # bytes of their descriptors
_IMAGE, _EXTENSION, _END = 0x2C, 0x21, 0x3B
_CONTROL, _APPLICATION, _COMMENT = 0xF9, 0xFF, 0xFE
_LOOPS = (b"NETSCAPE2.0", b"ANIMEXTS1.0")
_PROFILE = b"ICCRGBG1012"
_NAME = slice(1, 12)
_MAX_BLOCKS = 100_000  # 10 MB have 41,000 of the usual length


def clean(content: bytes) -> bytes:
    """Return the GIF without remarks, data of other programs and whatever follows its end.

    Raises:
        ValueError: a part is unknown, there are too many, or the picture has something to say of
            itself, for which GIF has no place that others read.
        IndexError: a part is cut short.
    """
    if says_generated(content) or find_orientation(content) != 1:
        raise ValueError("no place for metadata")
    return _Reader(content).clean()


class _Reader:
    """Goes through a GIF once, from part to part."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._at = _SCREEN + _table(content[_SCREEN - 3])
        self._blocks = 0

    def clean(self) -> bytes:
        content, parts = self._content, [self._content[: self._at]]
        while self._at < len(content) and content[self._at] != _END:
            start, kind = self._at, content[self._at]
            if kind == _IMAGE:
                self._at += _FRAME + _table(content[start + _FRAME - 1]) + 1
                self._skip()
                parts.append(content[start : self._at])
            elif kind == _EXTENSION:
                self._at += 2
                self._skip()
                parts.append(_shown(content[start + 1], content[start + 2 : self._at]))
            else:
                raise ValueError("an unknown part")
        return b"".join([*parts, bytes((_END,))])

    def _skip(self) -> None:
        """Go behind the blocks that follow, each preceded by its length, the last one empty."""
        while length := self._content[self._at]:
            self._at += 1 + length
            self._count()
        self._at += 1
        self._count()

    def _count(self) -> None:
        self._blocks += 1
        if self._blocks > _MAX_BLOCKS:
            raise ValueError("too many blocks")


def _shown(label: int, blocks: bytes) -> bytes:
    """Return the extension with what shows the picture; nothing of one that doesn't."""
    if label == _CONTROL and blocks[0] == 4:
        return bytes((_EXTENSION, label)) + blocks[:5] + b"\0"
    if label == _APPLICATION and blocks[_NAME] in _LOOPS and blocks[12:14] == b"\x03\x01":
        return bytes((_EXTENSION, label)) + blocks[:16] + b"\0"
    if label == _APPLICATION and blocks[_NAME] == _PROFILE:
        return bytes((_EXTENSION, label)) + blocks
    if label in (_CONTROL, _APPLICATION, _COMMENT):
        return b""
    raise ValueError("an unknown extension")  # plain text is drawn


def _table(flags: int) -> int:
    """Return the bytes of the colour table that these flags announce."""
    return 3 * 2 << (flags & 7) if flags & 0x80 else 0

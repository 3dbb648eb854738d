"""What a decoding process and its owner tell each other: bytes, of which nothing is ever run."""

from __future__ import annotations

import struct
from typing import NamedTuple

from PIL import Image

from product_search import errors

Region = tuple[int, int, int, int]
_REQUEST = struct.Struct("<?4q")
_LEAVE = struct.Struct("<dq")
_IMAGE = struct.Struct("<dII")
_MEMORY = struct.Struct("<q")
_IS_MEMORY, _IS_IMAGE, _IS_ERROR = b"M", b"I", b"E"
# What a file may be refused for; any other error ends the process.
_ERRORS: dict[str, type[errors.AppError]] = {
    kind.code: kind
    for kind in (
        errors.InvalidImage,
        errors.ImageTooLarge,
        errors.ImageTooManyPixels,
        errors.ImageTooComplex,
        errors.RegionOutsideImage,
    )
}


class Decoded(NamedTuple):
    """An image, and the seconds of a processor that a process of its own took for it."""

    image: Image.Image
    cpu_s: float = 0.0


class Leave(NamedTuple):
    """The owner's leave to decode: seconds of a processor, and bytes of memory."""

    cpu_s: float
    memory: int


def request(content: bytes, region: Region | None) -> bytes:
    """Return the request to decode a file, or a region of it."""
    return _REQUEST.pack(region is not None, *(region or (0, 0, 0, 0))) + content


def read_request(message: bytes) -> tuple[bytes, Region | None]:
    """Return the file, and the region."""
    has_region, left, top, width, height = _REQUEST.unpack_from(message)
    return message[_REQUEST.size :], (left, top, width, height) if has_region else None


def memory(size: int) -> bytes:
    """Return the word of how many bytes the decoding will take."""
    return _IS_MEMORY + _MEMORY.pack(size)


def leave(given: Leave | None) -> bytes:
    """Return the leave to go on, or with None the word that nobody waits any more."""
    return b"" if given is None else _LEAVE.pack(*given)


def read_leave(message: bytes) -> Leave | None:
    """Return the leave; None where there is none."""
    return Leave(*_LEAVE.unpack(message)) if message else None


def image(decoded: Decoded) -> bytes:
    """Return an image of mode RGB."""
    size = decoded.image.size
    return _IS_IMAGE + _IMAGE.pack(decoded.cpu_s, *size) + decoded.image.tobytes()


def error(raised: errors.AppError) -> bytes:
    """Return an error that is the file's own."""
    return _IS_ERROR + f"{raised.code} {raised.message}".encode()


def read_memory(message: bytes) -> int:
    """Return the bytes that the decoding will take. Raises the error that came instead."""
    _raise_error(message)
    (size,) = _MEMORY.unpack_from(message, 1)
    return int(size)


def read_image(message: bytes) -> Decoded:
    """Return the image. Raises the error that came instead."""
    _raise_error(message)
    cpu_s, *size = _IMAGE.unpack_from(message, 1)
    pixels = memoryview(message)[1 + _IMAGE.size :]
    return Decoded(Image.frombytes("RGB", (size[0], size[1]), pixels), cpu_s)


def _raise_error(message: bytes) -> None:
    if message[:1] == _IS_ERROR:
        code, _, text = message[1:].decode().partition(" ")
        raise _ERRORS[code](text)

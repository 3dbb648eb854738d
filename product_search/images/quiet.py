"""Decoders' own words: what is wrong with an image is told by its error, not by the log."""

from __future__ import annotations

import ctypes
import logging
import warnings
from ctypes.util import find_library
from functools import cache
from pathlib import Path

import PIL


@cache
def silence_decoders() -> None:
    """Keep Pillow's and libtiff's messages out of the log and of stderr, from now on.

    libtiff writes a line for each odd tag or strip straight to file descriptor 2.
    """
    logging.getLogger("PIL").setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", module=r"PIL\b")
    for library in _libtiffs():
        for name in ("TIFFSetWarningHandler", "TIFFSetErrorHandler"):
            setter = getattr(library, name)
            setter.argtypes, setter.restype = [ctypes.c_void_p], ctypes.c_void_p
            setter(None)


def _libtiffs() -> list[ctypes.CDLL]:
    """Load the libtiff that Pillow's wheel brings, or else the system's."""
    folder = Path(PIL.__file__).resolve().parent
    carried = [*folder.parent.glob("[pP]illow.libs/libtiff*"), *folder.glob(".dylibs/libtiff*")]
    names = [str(path) for path in carried] or [name for name in [find_library("tiff")] if name]
    return [ctypes.CDLL(name) for name in names]

"""Folders of the benchmarks under .bench, kept by what they were made from."""

from __future__ import annotations

import hashlib
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from product_search.settings import ROOT

BENCH = ROOT / ".bench"


def kept(name: str, made_from: str, make: Callable[[Path], object]) -> Path:
    """Return the folder of this name, made anew where what it is made from has changed."""
    digest = hashlib.sha256(made_from.encode()).hexdigest()[:12]
    folder = BENCH / f"{name}-{digest}"
    if not folder.exists():
        say(f"making {folder.name} …")
        partial = fresh(f"{folder.name}.partial")
        make(partial)
        partial.rename(folder)
    return folder


def fresh(name: str) -> Path:
    """Return an empty folder of this name."""
    folder = BENCH / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def copy(source: Path, name: str) -> Path:
    """Return a copy of a folder, under this name, that may be written to."""
    folder = BENCH / name
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(source, folder)
    return folder


def say(line: str) -> None:
    """Tell whoever waits what is going on."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()

"""What every place for images agrees on: its interface, and what its files are named."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Protocol

ASIDE = ".aside"  # ends the name of an image that is about to be deleted
UNAVAILABLE = "图片目录暂时无法使用，请稍后重试"
NOT_SAVED = "图片暂时无法保存，请稍后重试"
LOST = "图片文件已丢失或无法读取"
_HASH = re.compile(r"[0-9a-f]{64}")


class ImageFiles(Protocol):
    """Files of images, named by the hash of their bytes; whoever reads them looks at the hash.

    All raise StorageUnavailable where the place can't be reached.
    """

    def read(self, image_hash: str) -> bytes:
        """Return what the image's file has. Raises ImageNotFound where there is no such file."""

    def write(self, image_hash: str, content: bytes) -> None:
        """Keep the file, whole and for good once this returns."""

    def renew(self, image_hash: str) -> bool:
        """Restart the age of a file; False where there is none."""

    def find_missing(self, image_hashes: Collection[str]) -> set[str]:
        """Return those of the hashes that no file has for its name; none is read."""

    def renewed_at(self, prefix: str) -> dict[str, float]:
        """Return the hashes with these first two digits, and when each file was renewed.

        Times are in seconds since 1970.
        """

    def tidy(self, prefix: str, before: float) -> None:
        """Undo what a crash left among these hashes: files half written, images set aside."""

    def set_aside(self, image_hash: str, before: float) -> bool:
        """Take the image away, to be dropped or put back; False where its age began anew.

        Whoever renewed or wrote it before has restarted its age; whoever does so from now on
        finds none, or is refused.
        """

    def put_back(self, image_hash: str) -> None:
        """Undo set_aside, and restart the image's age."""

    def drop_aside(self, image_hash: str) -> None:
        """Delete an image that was set aside."""

    def check(self) -> None:
        """Raise StorageUnavailable, with the reason, where the place can't be reached."""


def is_hash(name: str) -> bool:
    """Tell whether this is the name of an image."""
    return _HASH.fullmatch(name) is not None


def place(image_hash: str) -> str:
    """Return where an image lies within its place. Raises ValueError for what is no hash."""
    if not is_hash(image_hash):
        raise ValueError(f"not a content hash: {image_hash!r}")
    return f"{image_hash[:2]}/{image_hash}"

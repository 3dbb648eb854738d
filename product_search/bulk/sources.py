"""Sources of an import: a table with its images in a folder, or both in a ZIP."""

from __future__ import annotations

import os
import posixpath
import re
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Protocol

from product_search.bulk.errors import (
    ImportTypeUnknown,
    ZipEncrypted,
    ZipTableCount,
    ZipTooLarge,
    ZipUnreadable,
    ZipUnsafeName,
)
from product_search.bulk.tables import UNBOUNDED, BadRow, Bounds, Check, Row, Table, go_on
from product_search.errors import ImportFileError, InvalidRequest
from product_search.images.formats import MAX_BYTES

TABLES = (".csv", ".jsonl")
KINDS = (*TABLES, ".zip")
MAX_ENTRIES = 200_000
_MAX_DIRECTORY = 32 * 1024 * 1024
_ENTRY_MARK = b"PK\x01\x02"
_ENCRYPTED = 0x1 | 0x40
_NAME_IS_UTF_8 = 0x800
# Others can ask for gigabytes of memory to be unpacked.
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_DRIVE = re.compile(r"[A-Za-z]:")
# What zipfile raises on hostile bytes.
_ZIP_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    OSError,
    NotImplementedError,
    RuntimeError,
    ValueError,
)


class Source(Protocol):
    """A table, and the images that its rows name."""

    @property
    def encoding(self) -> str:
        """The table's encoding."""
        ...

    def check_header(self) -> None:
        """Raise ImportFileError where the table's header is wrong; read no further."""
        ...

    def count_rows(self, check: Check = go_on) -> int:
        """Return how many rows `rows` yields. Raises as `rows`."""
        ...

    def rows(self, check: Check = go_on) -> Iterator[Row | BadRow]:
        """Yield every row, in order, from the first at each call.

        Raises ImportFileError, and what `check`, which is called now and then, raises.
        """
        ...

    def read_image(self, image_path: str) -> bytes:
        """Return an image's bytes: of one that is too large, one byte more than is allowed.

        Raises:
            InvalidRequest: there is no such image, or it can't be read.
        """
        ...


def kind_of(name: str) -> str:
    """Return the kind of a file by its name: its suffix. Raises ImportTypeUnknown."""
    kind = PurePosixPath(name).suffix.lower()
    if kind not in KINDS:
        raise ImportTypeUnknown(f"{name[-100:]}：只支持 {'、'.join(KINDS)} 文件")
    return kind


@contextmanager
def open_source(
    path: Path,
    kind: str,
    *,
    name: str | None = None,
    images: Path | None = None,
    encoding: str | None = None,
    bounds: Bounds | None = None,
) -> Iterator[Source]:
    """Open an import file, its form checked. It may be removed meanwhile: it stays open.

    Args:
        path: the file.
        kind: one of KINDS.
        name: what messages call the file, where that is not the path's own name.
        images: the folder of a bare table's images; without it there are none.
        encoding: the table's, where it was found before: else the table is read to find it.
        bounds: of a file from a stranger.

    Raises:
        ImportFileError: the file can't be read as a whole.
    """
    if not path.is_file():  # opening a pipe would wait for its writer
        raise ImportFileError(f"{name or path.name}：文件不存在")
    with path.open("rb") as stream:
        if kind == ".zip":
            with _open_zip(stream, bounds) as archive:
                yield _ZipSource(archive, encoding, bounds)
        else:
            table = Table(
                partial(_from_start, stream),
                kind,
                name or path.name,
                encoding=encoding,
                bounds=bounds or UNBOUNDED,
            )
            yield _FolderSource(table, images)


def _from_start(stream: IO[bytes]) -> IO[bytes]:
    """Return the same file from its start, to be closed by itself."""
    again = os.fdopen(os.dup(stream.fileno()), "rb")
    again.seek(0)
    return again


class _FolderSource:
    """A bare table, and the folder that its images lie in."""

    def __init__(self, table: Table, images: Path | None) -> None:
        self._images = images
        self.encoding = table.encoding
        self.rows, self.count_rows = table.rows, table.count_rows
        self.check_header = table.check_header

    def read_image(self, image_path: str) -> bytes:
        """Read an image as Source does; refuse a path out of the folder, by a link too."""
        if self._images is None:
            raise InvalidRequest("image_path：单独的表格没有图片，请连同图片打成 ZIP")
        root = self._images.resolve()
        try:
            path = (root / image_path).resolve()
            if not path.is_relative_to(root):
                raise InvalidRequest(f"image_path：{image_path!r} 在图片目录之外")
            if not path.is_file():
                raise InvalidRequest(f"image_path：没有文件 {image_path!r}")
            with path.open("rb") as stream:
                return stream.read(MAX_BYTES + 1)
        except (OSError, ValueError, RuntimeError) as error:  # a loop of links is a RuntimeError
            raise InvalidRequest(f"image_path：无法读取 {image_path!r}") from error


class _ZipSource:
    """A table in a ZIP, and the images beside it; nothing is ever unpacked to disk."""

    def __init__(
        self, archive: zipfile.ZipFile, encoding: str | None, bounds: Bounds | None
    ) -> None:
        """Find the table. Raises ImportFileError."""
        self._archive = archive
        self._entries = _check_entries(archive, bounds)
        name = self._table_name()
        self._folder = posixpath.dirname(name)
        entry = self._entries[name]
        if bounds is not None and entry.file_size > bounds.unpacked:
            raise ZipTooLarge(f"ZIP 内的 {name!r} 解压后过大：最多 {bounds.unpacked} 字节")
        with _translate_zip_errors():
            self._table = Table(
                partial(archive.open, entry),
                PurePosixPath(name).suffix.lower(),
                name,
                encoding=encoding,
                bounds=bounds or UNBOUNDED,
            )
        self.encoding = self._table.encoding

    def check_header(self) -> None:
        """Check the header as Source does."""
        with _translate_zip_errors():
            self._table.check_header()

    def count_rows(self, check: Check = go_on) -> int:
        """Count the rows as Source does."""
        with _translate_zip_errors():
            return self._table.count_rows(check)

    def rows(self, check: Check = go_on) -> Iterator[Row | BadRow]:
        """Yield the rows as Source does."""
        with _translate_zip_errors():
            yield from self._table.rows(check)

    def read_image(self, image_path: str) -> bytes:
        """Read an image as Source does, beside the table or else from the ZIP's root."""
        for folder in (self._folder, ""):
            name = posixpath.normpath(posixpath.join(folder, _with_slashes(image_path)))
            if _leads_out(name):
                raise InvalidRequest(f"image_path：{image_path!r} 在 ZIP 之外")
            if name in self._entries:
                return self._read(name)
        raise InvalidRequest(f"image_path：ZIP 内没有 {image_path!r}")

    def _read(self, name: str) -> bytes:
        try:
            with self._archive.open(self._entries[name]) as stream:
                return stream.read(MAX_BYTES + 1)
        except _ZIP_ERRORS as error:
            raise InvalidRequest(f"image_path：ZIP 内的 {name!r} 已损坏") from error

    def _table_name(self) -> str:
        names = [name for name in self._entries if _is_table(name)]
        if len(names) != 1:
            listed = f"：{'、'.join(names[:5])}" if names else ""
            raise ZipTableCount(
                f"ZIP 内应有且只有一个商品表（.csv 或 .jsonl），现有 {len(names)} 个{listed}"
            )
        return names[0]


class _BoundedFile:
    """A file of which zipfile can't hold a huge directory, nor make too many entries."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.tell, self.seek, self.close = stream.tell, stream.seek, stream.close
        self.seekable = stream.seekable
        self._stream = stream

    def read(self, size: int = -1) -> bytes:
        if size > _MAX_DIRECTORY:
            raise _too_many()
        content = self._stream.read(size)
        if content.count(_ENTRY_MARK) > MAX_ENTRIES:
            raise _too_many()
        return content


def _too_many() -> ZipTooLarge:
    return ZipTooLarge(f"ZIP 内的文件过多：最多 {MAX_ENTRIES} 个")


@contextmanager
def _translate_zip_errors() -> Iterator[None]:
    try:
        yield
    except _ZIP_ERRORS as error:
        raise ZipUnreadable("ZIP 已损坏或不完整") from error


@contextmanager
def _open_zip(stream: IO[bytes], bounds: Bounds | None) -> Iterator[zipfile.ZipFile]:
    bounded = stream if bounds is None else _BoundedFile(stream)
    with _translate_zip_errors():
        archive = zipfile.ZipFile(bounded)
    with archive:
        yield archive


def _check_entries(archive: zipfile.ZipFile, bounds: Bounds | None) -> dict[str, zipfile.ZipInfo]:
    """Return the ZIP's files by name, none of which leads out of it. Raises ImportFileError."""
    entries = [entry for entry in archive.infolist() if not _is_folder(entry)]
    if bounds is not None:
        if len(entries) > MAX_ENTRIES:
            raise _too_many()
        if sum(entry.file_size for entry in entries) > 2 * bounds.unpacked:
            raise ZipTooLarge(f"ZIP 解压后过大：最多 {2 * bounds.unpacked} 字节")
    if any(entry.flag_bits & _ENCRYPTED for entry in entries):
        raise ZipEncrypted("ZIP 有密码：请上传没有密码的")
    if any(entry.compress_type not in _METHODS for entry in entries):
        raise ZipUnreadable("ZIP 的压缩方法不受支持：只支持 Store 与 Deflate")
    named: dict[str, zipfile.ZipInfo] = {}
    for entry in entries:
        name = _with_slashes(_entry_name(entry))
        if _leads_out(name):
            raise ZipUnsafeName(f"ZIP 内的文件名 {name[:100]!r} 指向 ZIP 之外")
        name = posixpath.normpath(name)
        if name in named:
            raise ZipUnsafeName(f"ZIP 内有两个文件名为 {name[:100]!r}")
        named[name] = entry
    return named


def _is_folder(entry: zipfile.ZipInfo) -> bool:
    """Tell whether this is no file; ZipInfo.is_dir fails for an entry without a name."""
    return entry.filename.endswith("/") or not entry.filename


def _entry_name(entry: zipfile.ZipInfo) -> str:
    """Return the name that was meant: without the UTF-8 mark zipfile reads bytes as cp437."""
    if entry.flag_bits & _NAME_IS_UTF_8:
        return entry.filename
    try:
        raw = entry.filename.encode("cp437")
    except UnicodeEncodeError:
        return entry.filename
    for encoding in ("utf-8", "gb18030"):
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            continue
    return entry.filename


def _with_slashes(name: str) -> str:
    return name.replace("\\", "/")


def _leads_out(name: str) -> bool:
    return name.startswith("/") or ".." in name.split("/") or _DRIVE.match(name) is not None


def _is_table(name: str) -> bool:
    """Tell whether a person sees this table; macOS adds hidden twins of every file."""
    path = PurePosixPath(name)
    hidden = any(part.startswith((".", "__MACOSX")) for part in path.parts)
    return path.suffix.lower() in TABLES and not hidden

"""Tables that visitors choose, bare or in a ZIP, read in pieces and no further than the API reads.

All visitors share one process: what one of them chose must not keep it from the others.
"""

from __future__ import annotations

import codecs
import csv
import io
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import PurePosixPath
from typing import IO, TextIO

from product_search.demo.language import _

# As the API has them: characters of a row; rows, empty lines among them; lines of a row on average;
# bytes of an image; files in a ZIP, and bytes of their list.
MAX_ROW = 4_000_000
MAX_ROWS = 2_000_000
LINES_A_ROW = 10
MAX_IMAGE = 10 * 1024 * 1024
MAX_ENTRIES = 200_000
MAX_DIRECTORY = 32 * 1024 * 1024
MAX_UNPACKED = 512 * 1024 * 1024
TABLES = (".csv", ".jsonl")
_ENCODINGS = ("utf-8-sig", "gb18030")
_DELIMITERS = (",", "\t", ";", "|")
# Others can ask for gigabytes of memory to be unpacked.
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENTRY_MARK = b"PK\x01\x02"
_LOOKED_AT = 16_000_000  # characters from a table's start, for its columns and first rows
_BLOCK = 1 << 16
_NAME_IS_UTF_8 = 0x800
ZIP_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
)
Opener = Callable[[], IO[bytes]]  # of a table, from its start
csv.field_size_limit(MAX_ROW + 1)


class FileUnreadable(Exception):
    """Error of a file that can't be imported; the message says why to the visitor."""


def suffix_of(name: str) -> str:
    """Return the ending of a file's name, in small letters."""
    return PurePosixPath(name).suffix.lower()


class _BoundedFile(io.BytesIO):
    """A file of which zipfile can't make more entries than may be."""

    def read(self, size: int | None = -1, /) -> bytes:
        """Read so many bytes. Raises FileUnreadable."""
        content = super().read(size)
        if len(content) > MAX_DIRECTORY or content.count(_ENTRY_MARK) > MAX_ENTRIES:
            raise FileUnreadable(_("ZIP 内的文件过多。"))
        return content


@contextmanager
def open_table_of(name: str, content: bytes) -> Iterator[tuple[str, Opener]]:
    """Give the name of the table, and what opens it; in a ZIP it is the only one."""
    if suffix_of(name) != ".zip":
        yield name, partial(io.BytesIO, content)
        return
    with unzipped(content) as archive:
        entries = entries_of(archive)
        tables = [name for name in entries if _is_table(name)]
        if len(tables) != 1:
            many = _("ZIP 内应有且只有一个商品表（.csv 或 .jsonl），现有 {count} 个。")
            raise FileUnreadable(many.format(count=len(tables)))
        entry = entries[tables[0]]
        if entry.file_size > MAX_UNPACKED:
            raise FileUnreadable(_("ZIP 内的商品表过大。"))
        yield tables[0], partial(archive.open, entry)


@contextmanager
def unzipped(content: bytes) -> Iterator[zipfile.ZipFile]:
    """Open a ZIP. Raises FileUnreadable, also where the block finds that it is damaged."""
    try:
        with zipfile.ZipFile(_BoundedFile(content)) as archive:
            yield archive
    except ZIP_ERRORS as error:
        raise FileUnreadable(_("ZIP 打不开：它已损坏、不完整或有密码。")) from error


def entries_of(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """Return the files of the ZIP by the names that were meant, but for those without any.

    Raises:
        FileUnreadable: Where the API would not unpack one of them.
    """
    named = (entry for entry in archive.infolist() if entry.filename)
    files = [entry for entry in named if not entry.is_dir()]
    if any(entry.compress_type not in _METHODS for entry in files):
        raise FileUnreadable(_("ZIP 的压缩方法不受支持：只支持 Store 与 Deflate。"))
    return {_name(entry): entry for entry in files}


def _name(entry: zipfile.ZipInfo) -> str:
    """Return the name that was meant: unmarked names are read as cp437; Windows writes GB18030."""
    if not entry.flag_bits & _NAME_IS_UTF_8:
        for encoding in ("utf-8", "gb18030"):
            with suppress(UnicodeError):
                return entry.filename.encode("cp437").decode(encoding)
    return entry.filename


def _is_table(name: str) -> bool:
    """Tell whether the file is a table and not hidden: macOS adds a hidden twin of every file."""
    hidden = any(part.startswith((".", "__MACOSX")) for part in name.split("/"))
    return suffix_of(name) in TABLES and not hidden


def find_encoding(open_table: Opener) -> str:
    """Return the encoding of all of the table, however long.

    Raises:
        FileUnreadable: Where it is in no known encoding, or has too many lines.
    """
    for encoding in _ENCODINGS:
        decoder = codecs.getincrementaldecoder(encoding)()
        with open_table() as stream, suppress(UnicodeDecodeError):
            for block in _blocks(stream):
                decoder.decode(block)
            decoder.decode(b"", final=True)
            return encoding
    raise FileUnreadable(_("文件既不是 UTF-8 也不是 GB18030 编码：请另存为其中一种再上传。"))


def _blocks(stream: IO[bytes]) -> Iterator[bytes]:
    feeds = returns = 0
    while block := stream.read(_BLOCK):
        feeds += block.count(b"\n")
        returns += block.count(b"\r")
        if max(feeds, returns) > LINES_A_ROW * MAX_ROWS:
            raise too_many_rows()
        yield block


def read_start(open_table: Opener, encoding: str) -> str:
    """Return whole lines from the table's start."""
    with open_text(open_table(), encoding) as stream:
        start = stream.read(_LOOKED_AT)
    if len(start) < _LOOKED_AT:
        return start
    return start[: max(start.rfind("\n"), start.rfind("\r")) + 1]


def open_text(stream: IO[bytes], encoding: str) -> io.TextIOWrapper:
    """Return the stream's text, line ends as they are; its end closes the stream too."""
    return io.TextIOWrapper(stream, encoding=encoding, newline="")


def too_many_rows() -> FileUnreadable:
    """Return the error of a table with more than MAX_ROWS."""
    many = _("行数过多：最多 {count} 行（空行也算），请分成几个文件。")
    return FileUnreadable(many.format(count=f"{MAX_ROWS:,}"))


def _row_too_long(line: int) -> FileUnreadable:
    long = _("第 {line} 行过长：一行最多 {count} 个字符；也许少了一个引号。")
    return FileUnreadable(long.format(line=line, count=f"{MAX_ROW:,}"))


def bounded_lines(stream: TextIO) -> Iterator[str]:
    """Yield the lines of a text. Raises FileUnreadable at a line that is too long."""
    for number in count(1):
        line = stream.readline(MAX_ROW + 1)
        if not line:
            return
        if len(line) > MAX_ROW:
            raise _row_too_long(number)
        yield line


# CSV


@dataclass(frozen=True)
class CsvRow:
    """Row of a CSV: its cells ([]: an empty line; None: no CSV), and the lines that it takes."""

    cells: list[str] | None
    lines: tuple[str, ...]


class _Lines:
    """Lines of a text as csv takes them; `taken` are those of the row in hand."""

    def __init__(self, stream: TextIO) -> None:
        self._lines = enumerate(bounded_lines(stream), 1)
        self._length = 0
        self.taken: list[str] = []

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        number, line = next(self._lines)
        self._length += len(line)
        if self._length > MAX_ROW:
            raise _row_too_long(number)
        self.taken.append(line)
        return line

    def begin_row(self) -> None:
        """Forget the lines of the row before."""
        self.taken, self._length = [], 0


def csv_rows(stream: TextIO, delimiter: str) -> Iterator[CsvRow]:
    """Yield every row, the header first. Raises FileUnreadable at a row that is too long."""
    lines = _Lines(stream)
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        lines.begin_row()
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error:
            yield CsvRow(None, tuple(lines.taken))
        else:
            yield CsvRow(cells, tuple(lines.taken))


def find_delimiter(start: str) -> str:
    """Return the delimiter that makes the most columns of the header; a comma where none does."""
    header = io.StringIO(start, newline="").readline(MAX_ROW)
    counts = {one: len(next(csv.reader([header], delimiter=one), [])) for one in _DELIMITERS}
    return max(_DELIMITERS, key=counts.__getitem__)

"""How much of a hostile table is read: bounds that hold while it is read."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import IO

import pytest

from product_search.bulk.errors import ImportTooManyRows, ZipTooLarge
from product_search.bulk.sources import open_source
from product_search.bulk.tables import Bounds, Table
from tests.zips import zipped

LARGE = 2**40
JSON = '{"sku": "A"}\n'
# What a reader without bounds would be given before the test ends it.
GIVEN_UP_AT = 2**25


class Endless(io.RawIOBase):
    """A file of one text again and again, which knows how much of it was read."""

    def __init__(self, start: str, again: str) -> None:
        self._waiting = start.encode()
        self._again = again.encode()
        self.given = 0

    def read(self, size: int = -1, /) -> bytes:
        """Read so many bytes."""
        assert self.given < GIVEN_UP_AT, "it reads on and on"
        missing = max(0, size - len(self._waiting))
        self._waiting += self._again * (missing // len(self._again) + 1)
        content, self._waiting = self._waiting[:size], self._waiting[size:]
        self.given += len(content)
        return content


def table(content: str, kind: str, rows: int = 100) -> Table:
    bounds = Bounds(LARGE, rows)
    return Table(lambda: io.BytesIO(content.encode()), kind, f"a{kind}", bounds=bounds)


def endless(start: str, again: str) -> Callable[[], IO[bytes]]:
    return lambda: Endless(start, again)  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("kind", "header", "row"),
    [(".csv", "sku,title\n", "A,一\n"), (".csv", "sku,title\n", "A\n"), (".jsonl", "", JSON)],
)
def test_rows_are_bounded_the_empty_lines_among_them(kind: str, header: str, row: str) -> None:
    allowed = table(header + row * 3 + "\n\n", kind, rows=5)
    assert len(list(allowed.rows())) == allowed.count_rows() == 3
    for content in (row * 6, row + "\n" * 5, "\n" * 6):
        refused = table(header + content, kind, rows=5)
        with pytest.raises(ImportTooManyRows, match="5"):
            list(refused.rows())
        with pytest.raises(ImportTooManyRows):
            refused.count_rows()


@pytest.mark.parametrize("again", ["\n", "\r", "\r\n", "A,一\n"])
def test_a_file_of_far_too_many_lines_is_refused_before_it_is_taken(again: str) -> None:
    with pytest.raises(ImportTooManyRows):
        Table(endless("sku,title\n", again), ".csv", "a.csv", bounds=Bounds(LARGE, rows=1000))


def test_bytes_are_bounded_as_they_come() -> None:
    with pytest.raises(ZipTooLarge):
        Table(endless("sku,title\n", "x"), ".csv", "a.csv", bounds=Bounds(100_000))
    known = Table(
        endless("sku,title\n", "x"), ".csv", "a.csv", encoding="utf-8", bounds=Bounds(100_000)
    )
    known.check_header()
    with pytest.raises(ZipTooLarge):
        list(known.rows())


def test_an_encoding_that_is_known_is_not_looked_for() -> None:
    opened: list[None] = []

    def open_file() -> IO[bytes]:
        opened.append(None)
        return io.BytesIO("sku,title\nA,书\n".encode("gb18030"))

    first = Table(open_file, ".csv", "a.csv")
    assert first.encoding == "gb18030"
    opened.clear()
    again = Table(open_file, ".csv", "a.csv", encoding=first.encoding)
    assert opened == []
    assert (again.count_rows(), len(list(again.rows())), len(opened)) == (1, 1, 2)


@pytest.mark.parametrize("kind", [".csv", ".jsonl"])
def test_rows_are_counted_as_they_are_read(kind: str) -> None:
    rows = {
        ".csv": 'sku,title\nA,一\n\nB\n"C"x,三\n"D\n\n",四\n',
        ".jsonl": JSON + "\n  \n{\n[]\n" + JSON,
    }[kind]
    one = table(rows, kind)
    assert one.count_rows() == len(list(one.rows())) == 4


@pytest.mark.parametrize("name", ["a.csv", "a.zip"])
def test_a_file_that_is_removed_while_it_is_open_is_read_to_its_end(
    tmp_path: Path, name: str
) -> None:
    content = b"sku,title\nA,x\nB,y\n"
    path = tmp_path / name
    path.write_bytes(content if name == "a.csv" else zipped(("a.csv", content)))
    with open_source(path, path.suffix) as source:
        path.unlink()
        assert (source.count_rows(), len(list(source.rows()))) == (2, 2)


def test_a_zip_of_too_many_files_is_refused_as_its_list_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("product_search.bulk.sources.MAX_ENTRIES", 5)
    path = tmp_path / "a.zip"
    for folders, is_refused in (
        (4, False),
        (5, True),
    ):  # folders are no files, and held all the same
        path.write_bytes(
            zipped(("a.csv", b"sku,title\n"), *((f"{n}/", b"") for n in range(folders)))
        )
        try:
            with open_source(path, ".zip", bounds=Bounds(LARGE)):
                assert not is_refused
        except ZipTooLarge:
            assert is_refused

"""Damaged tables and ZIPs, to the import and to the import page: read, or refused with a reason."""

from __future__ import annotations

import tempfile
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from product_search.bulk.mapper import is_valid
from product_search.bulk.sources import Source, open_source
from product_search.bulk.tables import BadRow, Bounds, Row
from product_search.demo.import_file import open_renamed, read_file
from product_search.demo.tables import FileUnreadable
from product_search.errors import ImportFileError, InvalidRequest
from product_search.images.formats import MAX_BYTES
from tests.fuzz.inputs import FEW, at_most, damaged
from tests.hostile import HOSTILE
from tests.unit.pictures import encoded, four_colours
from tests.zips import encrypted, named_in, with_size, zipped

SECONDS = 5
BOUNDS = Bounds(1_000_000, rows=2_000)
PNG = encoded(four_colours(), "PNG")
HEADER = "sku,title,price,attributes,image_path\n"
CSV = HEADER + 'A,"一\n""二""",9.9,"{""颜色"": ""红""}",图/a.png\n\nB,书\nC,伞,,,../b.png\n'
JSONL = (
    '{"sku": "A", "title": "一", "attributes": {"n": [1, null, 1.5e3]}, "image_path": "图/a.png"}\n'
    '\n{"sku": "B\\ud83d\\ude00", "title": "\\u0000", "price": "1"}\n[1]\n{"货号": "C"}\n'
)
ENCODINGS = ["utf-8", "utf-8-sig", "gb18030"]
TABLES = {
    ".csv": [CSV.encode(one) for one in ENCODINGS] + [CSV.replace("\n", "\r").encode()],
    ".jsonl": [JSONL.encode(one) for one in ENCODINGS],
}
NAMES = [
    *("a.csv", "店/商品.csv", "b.jsonl", "图/a.png", "a.png", "../a.png", "/etc/passwd", "C:\\a"),
    *("a\0.csv", ".a.csv", "__MACOSX/a.csv", "a/", "a//b.png", "./a.csv", "a\\b.png", "é.png", ""),
    "很长" * 100,
]
ZIPS = [
    zipped(("a.csv", TABLES[".csv"][0]), ("图/a.png", PNG)),
    zipped(("店/b.jsonl", TABLES[".jsonl"][0]), ("a.png", PNG), packed=zipfile.ZIP_STORED),
    named_in("gb18030", ("商品.csv", TABLES[".csv"][2]), ("图/a.png", PNG)),
    zipped(("a.csv", HEADER.encode() + b"\n" * 50_000)),
    zipped(("a.csv", CSV.encode()), packed=zipfile.ZIP_BZIP2),
    encrypted(("a.csv", CSV.encode())),
    with_size(zipped(("a.csv", CSV.encode())), "a.csv", 2**31),
]
# Marks of each format again and again, and what opens without an end.
PIECES = [
    *(",", '"', '""', "\n", "\r", "\r\n", "\0", "{", "[", "]", "}", ":", "\\", "\\u", "\\ud800"),
    *('"sku"', '"title"', "sku", "title", "1e999", "-", "NaN", "9" * 400, "\ufeff", "\u2028", "=1"),
    *HOSTILE,
]
texts = st.lists(
    st.builds(lambda piece, times: piece * times, st.sampled_from(PIECES), st.integers(1, 300)),
    max_size=30,
).map("".join)
tables = st.sampled_from([*TABLES]).flatmap(
    lambda kind: st.tuples(
        st.just(kind),
        st.one_of(
            damaged(TABLES[kind]),
            st.builds(
                lambda start, text, encoding: (start + text).encode(encoding, "replace"),
                st.sampled_from([HEADER, "sku,title\n", '{"sku": "A", "attributes": ', ""]),
                texts,
                st.sampled_from(ENCODINGS),
            ),
        ),
    )
)


@st.composite
def archives(draw: st.DrawFn) -> bytes:
    """A ZIP that says of its files what is not so, or has them under odd names."""
    names = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=5, unique=True))
    contents = st.sampled_from([CSV.encode(), JSONL.encode(), PNG, b"", b"\n" * 100_000])
    content = bytearray(zipped(*((name, draw(contents)) for name in names)))
    entries = _places(content, b"PK\x01\x02")
    for entry in entries:
        # Its method, sizes, and where it begins: that of another file for one that lies over it.
        for offset, size in ((10, 2), (20, 4), (24, 4), (42, 4)):
            if draw(st.integers(0, 5)) == 0:
                values = [0, 1, 8, 12, 2 ** (8 * size) - 1, len(content), *_places(content, b"PK")]
                value = draw(st.sampled_from(values)) % 2 ** (8 * size)
                content[entry + offset : entry + offset + size] = value.to_bytes(size, "little")
    return bytes(content)


def _places(content: bytes | bytearray, mark: bytes) -> list[int]:
    return [at for at in range(len(content)) if content.startswith(mark, at)]


def are_read_or_refused(kind: str, content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"a{kind}"
        path.write_bytes(content)
        try:
            with open_source(path, kind, bounds=BOUNDS) as source:
                source.check_header()
                rows = list(source.rows())
                assert source.count_rows() == len(rows) <= BOUNDS.rows
                for row in rows:
                    _is_mapped(row, source)
        except ImportFileError:
            return
    lines = [row.line for row in rows]
    assert lines == sorted(set(lines))


def _is_mapped(row: Row | BadRow, source: Source) -> None:
    if isinstance(row, BadRow):
        assert row.reason.encode()
        return
    is_valid(row)
    for name in (row.values.get("image_path"), "图/a.png", "../a.png", "a\0"):
        if isinstance(name, str):
            with suppress(InvalidRequest):
                assert len(source.read_image(name)) <= MAX_BYTES + 1


def are_shown_and_renamed_or_refused(kind: str, content: bytes) -> None:
    try:
        file = read_file(f"a{kind}", content)
        with open_renamed(file, file.guess) as renamed:
            sent = renamed.read()
    except FileUnreadable:
        return
    are_read_or_refused(kind, sent)


@FEW
@given(tables)
def test_a_damaged_table_is_read_or_refused(table: tuple[str, bytes]) -> None:
    with at_most(SECONDS):
        are_read_or_refused(*table)
        are_shown_and_renamed_or_refused(*table)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@FEW
@given(st.one_of(damaged(ZIPS), archives()))
def test_a_damaged_zip_is_read_or_refused(content: bytes) -> None:
    with at_most(SECONDS):
        are_read_or_refused(".zip", content)
        are_shown_and_renamed_or_refused(".zip", content)


@FEW
@given(st.integers(1, 100_000), st.sampled_from(["[", '{"a":', '{"sku": "A", "attributes": [']))
def test_json_of_any_depth_is_a_row_or_a_bad_row(depth: int, opening: str) -> None:
    line = opening * depth + "]" * depth
    csv = 'sku,title,attributes\nA,书,"' + line.replace('"', '""') + '"\n'
    with at_most(SECONDS):
        are_read_or_refused(".jsonl", line.encode())
        are_shown_and_renamed_or_refused(".jsonl", line.encode() + b'\n{"sku": "B"}\n')
        are_read_or_refused(".csv", csv.encode())


def test_what_is_damaged_is_read_whole() -> None:
    for kind, wholes in TABLES.items():
        for content in wholes:
            are_read_or_refused(kind, content)
            assert read_file(f"a{kind}", content).rows

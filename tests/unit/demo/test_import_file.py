"""Files to import as the pages read them: their columns, and what the API reads of them renamed."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from product_search.bulk import sources, tables
from product_search.bulk.sources import open_source
from product_search.bulk.tables import BadRow, Row
from product_search.demo import tables as import_tables
from product_search.demo.import_file import (
    FIELDS,
    IMAGE,
    ColumnMapping,
    ImportFile,
    guess_columns,
    missing_fields,
    open_renamed,
    read_file,
)
from product_search.demo.tables import FileUnreadable
from product_search.images.formats import MAX_BYTES
from tests.conftest import SAMPLE
from tests.zips import TABLE, damaged, encrypted, named_in, without_name, zipped

CHINESE = "货号,商品名称,备注,售价\nA-1,红色双肩包,热销,129.00\nA-2,雨伞,,20\n"
PICTURE = b"picture"


def read(name: str, content: str | bytes) -> ImportFile:
    return read_file(name, content.encode() if isinstance(content, str) else content)


def renamed(file: ImportFile, mapping: ColumnMapping | None = None) -> bytes:
    with open_renamed(file, mapping or file.guess) as content:
        return content.read()


def taken(file: ImportFile, folder: Path, **mapping: int) -> list[Row | BadRow]:
    """The rows that the API reads of the renamed file; the mapping is the guess unless given."""
    path = folder / f"sent{Path(file.name).suffix.lower()}"
    path.write_bytes(renamed(file, mapping))
    with open_source(path, path.suffix) as source:
        return list(source.rows())


def values(rows: list[Row | BadRow]) -> list[Any]:
    return [dict(row.values) if isinstance(row, Row) else row.reason for row in rows]


def lines(rows: list[Row | BadRow]) -> list[int]:
    return [row.line for row in rows]


def test_our_fields_are_those_of_the_api() -> None:
    assert set(FIELDS) == set(tables.COLUMNS)
    assert IMAGE == tables.IMAGE_COLUMN


@pytest.mark.parametrize(
    ("columns", "found"),
    [
        (["sku", "title", "price"], {"sku": 0, "title": 1, "price": 2}),
        (["售价", "商品名称", "货号", "主图"], {"sku": 2, "title": 1, "price": 0, IMAGE: 3}),
        ([" SKU ", "Product Name", "Unit-Price", "x"], {"sku": 0, "title": 1, "price": 2}),
        (["品牌", "品牌", "备注"], {"brand": 0}),
        (["编号", "sku"], {"sku": 1}),
        (["款号", "名称"], {"sku": 0, "title": 1}),
        (["款号", "货号", "名称"], {"sku": 1, "title": 2, "group": 0}),
        (["sku", "title", "SPU 编码"], {"sku": 0, "title": 1, "group": 2}),
        ([], {}),
    ],
)
def test_columns_are_guessed_by_their_names(columns: list[str], found: dict[str, int]) -> None:
    assert guess_columns(columns) == found


def test_what_is_required_and_not_there_is_told() -> None:
    assert missing_fields({"price": 0}) == ["sku", "title"]
    assert missing_fields({"sku": 0, "title": 0}) == []


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_a_table_of_any_encoding_and_delimiter_is_renamed(
    tmp_path: Path, encoding: str, delimiter: str
) -> None:
    file = read("表.CSV", CHINESE.replace(",", delimiter).encode(encoding))
    assert file.columns == ("货号", "商品名称", "备注", "售价")
    assert file.rows[0] == ("A-1", "红色双肩包", "热销", "129.00")
    assert values(taken(file, tmp_path)) == [
        {"sku": "A-1", "title": "红色双肩包", "price": "129.00"},
        {"sku": "A-2", "title": "雨伞", "price": "20"},
    ]


def test_a_table_that_has_our_names_is_sent_as_it_is() -> None:
    content = "sku,title\r\nA,书包\r\n".encode("gb18030")
    file = read("a.csv", content)
    assert renamed(file) == content


def test_one_column_may_be_taken_for_two_fields(tmp_path: Path) -> None:
    file = read("a.csv", "名称\n书包\n")
    assert values(taken(file, tmp_path, sku=0, title=0)) == [{"sku": "书包", "title": "书包"}]


def test_rows_keep_their_lines_and_bad_rows_stay_bad(tmp_path: Path) -> None:
    table = (
        '货号,备注,名称\nA,"两\r\n行",书包\n\nB,,雨伞,多\nC\n'
        '"D"x,,坏\nE,"","两\n行的标题"\nF,,"没有'
    )
    rows = taken(read("a.csv", table), tmp_path)
    assert lines(rows) == [2, 5, 6, 7, 8, 10]
    assert values(rows)[0] == {"sku": "A", "title": "书包"}
    assert values(rows)[4] == {"sku": "E", "title": "两\n行的标题"}
    assert [isinstance(row, Row) for row in rows] == [True, False, False, False, True, False]


def test_json_lines_are_renamed_and_keep_their_lines(tmp_path: Path) -> None:
    table = (
        '{"货号": "A", "名称": "书包", "x": 1}\n\n[1]\n{坏}\n'
        '{"名称": "伞\\ud83d\\ude00", "售价": 9.9}'
    )
    file = read("a.jsonl", table)
    assert file.columns == ("货号", "名称", "x", "售价")
    assert file.rows == (("A", "书包", 1, None), (None, "伞😀", None, 9.9))
    rows = taken(file, tmp_path)
    assert lines(rows) == [1, 3, 4, 5]
    assert values(rows)[0] == {"sku": "A", "title": "书包"}
    assert values(rows)[3] == {"title": "伞😀", "price": 9.9}


def test_a_table_without_images_can_not_name_any() -> None:
    assert IMAGE not in read("a.csv", "货号,名称,图片\nA,书包,包.png\n").guess


@pytest.mark.parametrize("encoding", ["utf-8", "gb18030"])
def test_a_zip_is_packed_anew_with_its_images_whoever_named_them(
    tmp_path: Path, encoding: str
) -> None:
    table = ("店/商品.csv", "货号,名称,图片\nA,书包,图/包.png\n".encode())
    content = named_in(encoding, table, ("店/图/包.png", PICTURE), ("说明.txt", b""))
    file = read_file("a.zip", content)
    assert file.columns == ("货号", "名称", "图片")
    path = tmp_path / "sent.zip"
    path.write_bytes(renamed(file))
    with open_source(path, ".zip") as source:
        assert values(list(source.rows())) == [{"sku": "A", "title": "书包", IMAGE: "图/包.png"}]
        assert source.read_image("图/包.png") == PICTURE


def test_a_damaged_image_does_not_keep_the_rest_from_being_imported(tmp_path: Path) -> None:
    table = ("a.csv", "货号,名称,图片\nA,书包,包.png\n".encode())
    content = zipped(table, ("b.png", PICTURE), packed=zipfile.ZIP_STORED)
    file = read_file("a.zip", damaged(content, content.index(PICTURE)))
    assert len(taken(file, tmp_path)) == 1


def test_the_sample_catalog_is_understood_whole() -> None:
    file = read("catalog.csv", (SAMPLE / "catalog.csv").read_bytes())
    assert list(file.columns) == [name for name in tables.COLUMNS if name != "group"]
    assert set(file.guess) == set(FIELDS) - {IMAGE, "group"}
    assert json.loads(file.rows[0][file.guess["attributes"]])["颜色"] == "红"


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("a.xlsx", b"PK", "只支持 CSV"),
        ("a.csv", b"", "没有列"),
        ("a.csv", b"\xff\xfe\x00\x81\xff", "既不是 UTF-8 也不是 GB18030"),
        ("a.csv", b'"sku"x,title\n', "第 1 行不是有效的 CSV"),
        ("a.jsonl", b"[1]\n", "没有列"),
        ("a.zip", b"no zip", "ZIP 打不开"),
        ("a.zip", zipped(("a.txt", b"")), "现有 0 个"),
        ("a.zip", zipped(("a.csv", b"sku"), ("b.jsonl", b"{}")), "现有 2 个"),
        ("a.zip", encrypted(TABLE), "ZIP 打不开"),
        ("a.zip", zipped(TABLE, packed=zipfile.ZIP_LZMA), "压缩方法不受支持"),
        ("a.zip", without_name(zipped(TABLE)), "现有 0 个"),
    ],
)
def test_a_file_that_can_not_be_imported_says_why(name: str, content: bytes, why: str) -> None:
    with pytest.raises(FileUnreadable, match=why):
        read_file(name, content)


EMPTY_LINES = 10 * import_tables.MAX_ROWS + 1


def test_a_small_zip_of_many_empty_lines_is_refused_before_its_lines_are_looked_at() -> None:
    content = zipped(("a.csv", b"sku,title\n" + b"\n" * EMPTY_LINES))
    assert len(content) < 50_000
    with pytest.raises(FileUnreadable, match="行数过多"):
        read_file("a.zip", content)


@pytest.mark.parametrize(
    ("name", "start", "row"),
    [("a.csv", "货号,名称\n", "\n"), ("a.jsonl", '{"货号": "A", "名称": "书"}\n', "\n")],
)
def test_no_more_rows_are_renamed_than_the_api_takes_the_empty_among_them(
    monkeypatch: pytest.MonkeyPatch, name: str, start: str, row: str
) -> None:
    monkeypatch.setattr("product_search.demo.import_file.MAX_ROWS", 1000)
    assert renamed(read(name, start + row * 999))
    file = read(name, start + row * 1001)
    with pytest.raises(FileUnreadable, match="行数过多"):
        renamed(file)


def test_no_more_rows_are_looked_at_for_columns_than_may_be(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("product_search.demo.import_file._LOOKED_AT", 10)
    rows = ['{"货号": "A"}'] * 9
    assert read("a.jsonl", "\n".join([*rows, '{"名称": "书"}'])).columns == ("货号", "名称")
    assert read("a.jsonl", "\n".join([*rows, "", '{"名称": "书"}'])).columns == ("货号",)
    assert read("a.csv", "sku,title\n" + "\n" * 10 + "A,书\n").rows == ()


def test_only_the_start_of_a_table_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("product_search.demo.tables._LOOKED_AT", 23)
    file = read("a.csv", "sku,title\nA,书包\nB,雨伞\nC,帽子\n")
    assert file.rows == (("A", "书包"), ("B", "雨伞"))
    assert renamed(file).count(b"\n") == 4


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl"])
def test_a_row_that_is_too_long_is_told_with_its_line(name: str) -> None:
    start = {"a.csv": "货号,名称\nA,书\n", "a.jsonl": '{"货号": "A", "名称": "书"}\n\n'}[name]
    long = 'B,"' + "x" * import_tables.MAX_ROW
    with pytest.raises(FileUnreadable, match="第 3 行过长"):
        renamed(read(name, start + long))


def test_a_header_of_too_many_columns_is_refused() -> None:
    with pytest.raises(FileUnreadable, match="列过多"):
        read("a.csv", "," * 1000 + "\n")


def test_an_image_that_the_api_refuses_for_its_size_is_not_copied_whole(tmp_path: Path) -> None:
    table = ("a.csv", "货号,名称,图片\nA,书包,b.png\n".encode())
    file = read_file("a.zip", zipped(table, ("b.png", bytes(MAX_BYTES + 1000))))
    path = tmp_path / "sent.zip"
    path.write_bytes(renamed(file))
    with open_source(path, ".zip") as source:
        assert len(source.read_image("b.png")) == MAX_BYTES + 1
    with zipfile.ZipFile(path) as archive:
        assert archive.getinfo("b.png").file_size == MAX_BYTES + 1


def test_a_zip_of_too_many_files_is_refused_as_its_list_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("product_search.demo.tables.MAX_ENTRIES", 5)
    assert read_file("a.zip", zipped(TABLE, *((f"{n}", b"") for n in range(4)))).columns
    with pytest.raises(FileUnreadable, match="文件过多"):
        read_file("a.zip", zipped(TABLE, *((f"{n}", b"") for n in range(5))))


def test_what_the_page_bounds_is_what_the_api_bounds() -> None:
    assert (import_tables.MAX_ROW, import_tables.MAX_ROWS) == (tables.MAX_ROW, tables.MAX_ROWS)
    assert import_tables.MAX_ENTRIES == sources.MAX_ENTRIES
    assert import_tables.MAX_IMAGE == MAX_BYTES

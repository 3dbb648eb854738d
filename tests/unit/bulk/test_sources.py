"""Reading an import file: encodings, line numbers, rows that can't be read."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from product_search.bulk import tables
from product_search.bulk.errors import ImportEncodingUnknown, ImportHeaderInvalid, ImportTypeUnknown
from product_search.bulk.sources import kind_of, open_source
from product_search.bulk.tables import BadRow, Row
from product_search.errors import ImportFileError

HEADER = "sku,title,price\n"


def rows_of(folder: Path, name: str, content: str | bytes) -> list[Row | BadRow]:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read(path)


def read(path: Path) -> list[Row | BadRow]:
    with open_source(path, kind_of(path.name)) as source:
        return list(source.rows())


def lines_of_bad(rows: list[Row | BadRow]) -> list[int]:
    return [row.line for row in rows if isinstance(row, BadRow)]


def test_a_row_has_its_line_and_only_the_columns_given(tmp_path: Path) -> None:
    rows = rows_of(tmp_path, "a.csv", HEADER + "A,书包,1.5\nB,帽子,\n")
    assert rows == [
        Row(2, {"sku": "A", "title": "书包", "price": "1.5"}),
        Row(3, {"sku": "B", "title": "帽子", "price": None}),
    ]


def test_cells_are_not_trimmed(tmp_path: Path) -> None:
    (row,) = rows_of(tmp_path, "a.csv", HEADER + "A,  书包 , \n")
    assert row == Row(2, {"sku": "A", "title": "  书包 ", "price": " "})


def test_a_cell_of_many_lines_counts_as_its_first_line(tmp_path: Path) -> None:
    text = HEADER + 'A,"一\n二\n\n三",1\nB,帽子,1,多了\nC,伞,2\n'
    rows = rows_of(tmp_path, "a.csv", text)
    assert [row.line for row in rows] == [2, 6, 7]
    assert lines_of_bad(rows) == [6]
    assert isinstance(rows[0], Row)
    assert rows[0].values["title"] == "一\n二\n\n三"


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_line_ends_of_every_system_are_read(tmp_path: Path, newline: str) -> None:
    rows = rows_of(tmp_path, "a.csv", f"sku,title{newline}A,一{newline}{newline}B,二")
    assert [row.line for row in rows] == [2, 4]
    assert lines_of_bad(rows) == []


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030"])
def test_utf_8_with_and_without_a_bom_and_gb18030_are_told_apart(
    tmp_path: Path, encoding: str
) -> None:
    (row,) = rows_of(tmp_path, "a.csv", (HEADER + "A,红色双肩包 𠮷🎒,1\n").encode(encoding))
    assert row == Row(2, {"sku": "A", "title": "红色双肩包 𠮷🎒", "price": "1"})


def test_a_file_in_neither_encoding_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImportEncodingUnknown, match="UTF-8"):
        rows_of(tmp_path, "a.csv", b"sku,title\nA,\xff\xff\xff\n")


@pytest.mark.parametrize(
    ("header", "named"),
    [
        ("sku,title,colour", "colour"),
        ("sku,title,title", "title"),
        ("title,price", "sku"),
        ("sku,price", "title"),
        ("sku,title,", "''"),
        ("SKU,title", "SKU"),
        ("sku,title,image_base64", "image_base64"),
        ("", "sku"),
    ],
)
def test_a_wrong_header_is_refused_and_named(tmp_path: Path, header: str, named: str) -> None:
    with pytest.raises(ImportHeaderInvalid) as caught:
        rows_of(tmp_path, "a.csv", f"{header}\nA,一\n")
    assert named in str(caught.value)


@pytest.mark.parametrize("name", ["a.xlsx", "a", "a.csv.gz", "a.json"])
def test_an_unknown_kind_of_file_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ImportTypeUnknown, match="jsonl"):
        rows_of(tmp_path, name, HEADER)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    for name in ("a.csv", "a.jsonl"):
        with pytest.raises(ImportFileError, match=name):
            read(tmp_path / name)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "a.csv").mkdir()
    with pytest.raises(ImportFileError):
        read(tmp_path / "a.csv")


def test_a_broken_quote_is_a_bad_row_and_the_next_row_is_read(tmp_path: Path) -> None:
    rows = rows_of(tmp_path, "a.csv", HEADER + 'A,"书"包,1\nB,帽子,2\n')
    assert lines_of_bad(rows) == [2]
    assert rows[-1] == Row(3, {"sku": "B", "title": "帽子", "price": "2"})


def test_a_quote_that_never_ends_is_a_bad_row(tmp_path: Path) -> None:
    rows = rows_of(tmp_path, "a.csv", HEADER + 'A,一,1\nB,"二,2\nC,三,3\n')
    assert [row.line for row in rows] == [2, 3]
    assert lines_of_bad(rows) == [3]


LONG = "字" * (tables.MAX_ROW + 1)


@pytest.mark.parametrize(
    "row",
    [
        f"A,{LONG},1",
        f'A,"{LONG}",1',
        'A,"' + "字\n" * tables.MAX_ROW,
        "A,一," + "," * len(LONG),
    ],
    ids=["a line", "a cell", "an open quote", "columns"],
)
def test_a_row_too_long_to_hold_is_bad_and_nothing_behind_it_is_read(
    tmp_path: Path, row: str
) -> None:
    rows = rows_of(tmp_path, "a.csv", f"{HEADER}B,二,2\n{row}\nX,里面的,3\n")
    assert [one.line for one in rows] == [2, 3]
    assert lines_of_bad(rows) == [3]


def test_a_header_too_long_to_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImportHeaderInvalid):
        rows_of(tmp_path, "a.csv", f"sku,title,{LONG}\nA,一,1\n")


@pytest.mark.parametrize("longer", [0, 1, tables.MAX_ROW, tables.MAX_ROW + 1])
def test_a_line_of_json_too_long_to_hold_is_one_bad_row(tmp_path: Path, longer: int) -> None:
    line = '{"sku": "' + "x" * (tables.MAX_ROW - 9 + longer) + '"}'
    rows = rows_of(tmp_path, "a.jsonl", f'{{"sku": "A"}}\n{line}\n{{"sku": "B"}}')
    assert [one.line for one in rows] == [1, 2, 3]
    assert lines_of_bad(rows) == [2]
    assert rows[2] == Row(3, {"sku": "B"})


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl"])
@pytest.mark.parametrize("filler", ["\n", "\r\n", "{\n"])
def test_reading_can_be_stopped_where_no_rows_come(tmp_path: Path, name: str, filler: str) -> None:
    class Stop(Exception):
        pass

    def stop() -> None:
        asked.append(None)
        if len(asked) == 3:
            raise Stop

    asked: list[None] = []
    (tmp_path / name).write_text(HEADER + filler * 100_000, "utf-8")
    with open_source(tmp_path / name, name[1:]) as source:
        source.check_header()
        with pytest.raises(Stop):
            list(source.rows(stop))


def test_a_header_that_is_no_csv_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImportHeaderInvalid):
        rows_of(tmp_path, "a.csv", 'sku,"ti"tle\nA,一\n')


def test_every_line_of_jsonl_is_an_object(tmp_path: Path) -> None:
    lines = ['{"sku": "A", "title": "一"}', "", "[]", "{oops", '"text"', "null", "  ", '{"sku": 5}']
    rows = rows_of(tmp_path, "a.jsonl", "\n".join(lines))
    assert [row.line for row in rows] == [1, 3, 4, 5, 6, 8]
    assert lines_of_bad(rows) == [3, 4, 5, 6]


@pytest.mark.parametrize(
    "line", ["[" * 100_000, '{"a":' * 100_000, '{"price": ' + "9" * 5_000 + "}"]
)
def test_json_that_is_too_much_is_a_bad_row(tmp_path: Path, line: str) -> None:
    rows = rows_of(tmp_path, "a.jsonl", line + '\n{"sku": "B"}\n')
    assert lines_of_bad(rows) == [1]
    assert rows[1] == Row(2, {"sku": "B"})


CELLS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cells=st.lists(st.tuples(CELLS, CELLS), max_size=5))
def test_what_a_csv_writer_writes_is_read_back(
    tmp_path: Path, cells: list[tuple[str, str]]
) -> None:
    stream = io.StringIO()
    csv.writer(stream, quoting=csv.QUOTE_ALL).writerows([("sku", "title"), *cells])
    rows = rows_of(tmp_path, "a.csv", stream.getvalue())
    read = [(row.values["sku"], row.values["title"]) for row in rows if isinstance(row, Row)]
    assert read == cells


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(titles=st.lists(CELLS, max_size=5))
def test_what_a_json_writer_writes_is_read_back(tmp_path: Path, titles: list[str]) -> None:
    lines = [json.dumps({"title": title}, ensure_ascii=False) for title in titles]
    rows = rows_of(tmp_path, "a.jsonl", "".join(f"{line}\n" for line in lines))
    assert [row.values["title"] for row in rows if isinstance(row, Row)] == titles

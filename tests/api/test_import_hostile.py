"""Import files that mislead: nothing from inside a cell becomes a row, nothing waits for ever."""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from orm_models import Database
from product_search.bootstrap.migrate import migrate
from product_search.bulk.importer import BATCH_SIZE, Report, import_file
from product_search.catalog.products import Catalog
from product_search.errors import ImportFileError
from product_search.images.store import ImageStore
from tests.api.test_import import Shop, counts
from tests.sessions import writing
from tests.unit.pictures import encoded, four_colours

CSV_LIMIT = 131_072  # longer cells are an error to Python's csv, unless it is told otherwise
PATIENCE_S = 60.0


@pytest.fixture
def hostile(tmp_path: Path) -> Iterator[Shop]:
    """An empty catalog, and a folder with one good image."""
    database = Database(f"sqlite:///{tmp_path / 'catalog.sqlite3'}")
    migrate(database)
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "a.png").write_bytes(encoded(four_colours(), "PNG"))
    yield Shop(Catalog(database, ImageStore(tmp_path / "kept")), folder)
    database.close()


def skus(shop: Shop) -> list[str | None]:
    return [product.sku for product in shop.products()]


def in_time(shop: Shop, content: str, name: str = "a.csv") -> Report:
    """The import, in a thread that a test does not wait for without end."""
    reports: list[Report] = []
    thread = threading.Thread(target=lambda: reports.append(shop.load(content, name)), daemon=True)
    thread.start()
    thread.join(PATIENCE_S)
    assert not thread.is_alive(), "the import waits"
    return reports[0]


@pytest.mark.parametrize("size", [CSV_LIMIT - 1, CSV_LIMIT, CSV_LIMIT + 1, 1_000_000])
@pytest.mark.parametrize("column", ["title", "description", "sku", "attributes"])
def test_a_cell_that_is_too_long_is_one_bad_row(hostile: Shop, column: str, size: int) -> None:
    cells = {"sku": "B", "title": "书", "description": "", "attributes": ""}
    cells[column] = '"' + "x" * size + '"'
    rows = f"sku,title,description,attributes\nA,一,,\n{','.join(cells.values())}\nC,三,,\n"
    report = hostile.load(rows)
    assert counts(report) == (2, 0, 0, [3])
    assert skus(hostile) == ["A", "C"]
    assert len(report.bad_rows[0].reason) < 500


@pytest.mark.parametrize("rows_inside", [10_000, 50_000])
def test_what_a_long_cell_holds_never_becomes_rows(hostile: Shop, rows_inside: int) -> None:
    inside = "".join(f"X-{number},混进来的商品\n" for number in range(rows_inside))
    assert len(inside) > CSV_LIMIT
    report = hostile.load(f'sku,title\nA,一\nB,"书\n{inside}"\nC,三\n')
    assert counts(report) == (2, 0, 0, [3])
    assert skus(hostile) == ["A", "C"]
    assert re.search("长|最多|过大", report.bad_rows[0].reason)


def test_a_long_cell_of_a_line_of_json_is_one_bad_row(hostile: Shop) -> None:
    rows = [{"sku": "A", "title": "一"}, {"sku": "B", "title": "书\n" * CSV_LIMIT}]
    lines = "".join(f"{json.dumps(row)}\n" for row in [*rows, {"sku": "C", "title": "三"}])
    assert counts(hostile.load(lines, "a.jsonl")) == (2, 0, 0, [2])


def numbers_in(reason: str) -> set[int]:
    return {int(number) for number in re.findall(r"\d+", reason)}


@pytest.mark.parametrize("rows_behind", [2, 20_000])
def test_a_quote_that_is_never_closed_says_how_far_it_reached(
    hostile: Shop, rows_behind: int
) -> None:
    behind = "".join(f"X-{number},标题\n" for number in range(rows_behind))
    report = hostile.load(f'sku,title\nA,一\nB,"没有结尾\n{behind}')
    assert counts(report) == (1, 0, 0, [3])
    assert 3 + rows_behind in numbers_in(report.bad_rows[0].reason)
    assert skus(hostile) == ["A"]


def test_a_quote_that_another_row_closes_says_how_far_it_reached(hostile: Shop) -> None:
    rows = 'sku,title\nA,一\nB,"没有结尾\nX,二\nY,"三"\nC,四\n'
    report = hostile.load(rows)
    assert counts(report) == (2, 0, 0, [3])
    assert 5 in numbers_in(report.bad_rows[0].reason)
    assert skus(hostile) == ["A", "C"]


def test_a_pipe_in_place_of_an_image_is_a_bad_row_and_nothing_waits(hostile: Shop) -> None:
    os.mkfifo(hostile.folder / "pipe.png")
    os.symlink("pipe.png", hostile.folder / "link.png")
    rows = "sku,title,image_path\nA,一,a.png\nB,二,pipe.png\nC,三,link.png\nD,四,a.png\n"
    assert counts(in_time(hostile, rows)) == (2, 0, 0, [3, 4])


def test_a_loop_of_links_in_place_of_an_image_is_a_bad_row(hostile: Shop) -> None:
    os.symlink("two.png", hostile.folder / "one.png")
    os.symlink("one.png", hostile.folder / "two.png")
    os.symlink("loop", hostile.folder / "loop")
    paths = ["one.png", "two.png", "loop/a.png", "loop/../a.png", "a.png/", "a.png/../a.png"]
    rows = "".join(f"S-{number},标题,{path}\n" for number, path in enumerate(paths))
    report = in_time(hostile, f"sku,title,image_path\nA,一,a.png\n{rows}Z,完,a.png\n")
    assert counts(report)[3][:3] == [3, 4, 5]
    assert {"A", "Z"} <= set(skus(hostile))
    assert report.counts.rows_done == len(paths) + 2


@pytest.mark.parametrize("target", ["/dev/zero", "/dev/stdin", "/proc/self/environ", "/"])
def test_a_link_out_of_the_folder_is_a_bad_row(hostile: Shop, target: str) -> None:
    os.symlink(target, hostile.folder / "out.png")
    rows = "sku,title,image_path\nA,一,out.png\nB,二,a.png\n"
    assert counts(in_time(hostile, rows)) == (1, 0, 0, [2])


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl"])
def test_a_pipe_or_a_folder_is_no_import_file(hostile: Shop, name: str) -> None:
    for make in (os.mkfifo, os.mkdir):
        path = hostile.folder / make.__name__ / name
        path.parent.mkdir()
        make(path)
        with pytest.raises(ImportFileError):
            import_file(hostile.catalog, path, hostile.folder)
    assert hostile.products() == []


def test_a_sku_that_is_taken_meanwhile_is_a_bad_row_and_the_batch_goes_in(hostile: Shop) -> None:
    """The database refuses one INSERT, as where a request took the sku after our SELECT."""
    taken = "UNIQUE constraint failed: product.sku"
    trigger = (
        "CREATE TRIGGER taken BEFORE INSERT ON product WHEN NEW.sku = 'S-5' "
        f"BEGIN SELECT RAISE(ABORT, '{taken}'); END"
    )
    with writing(hostile.catalog.database) as session:
        session.execute(text(trigger))
    size = BATCH_SIZE + 10
    rows = "".join(f"S-{number},标题{number}\n" for number in range(size))
    report = hostile.load(f"sku,title\n{rows}")
    assert counts(report) == (size - 1, 0, 0, [7])
    assert "sku" in report.bad_rows[0].reason
    assert "S-5" not in skus(hostile)
    assert len(skus(hostile)) == hostile.events() == size - 1
    assert counts(hostile.load(f"sku,title\n{rows}")) == (0, 0, size - 1, [7])

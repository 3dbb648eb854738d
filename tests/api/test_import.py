"""Bulk import into a real catalog: upsert by sku, bad rows told, the rest in."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from data_models import ImportCounts, ProductListQuery, ProductOut
from orm_models import Database
from product_search.bootstrap.migrate import migrate
from product_search.bulk.importer import BATCH_SIZE, Report, import_file
from product_search.catalog.products import Catalog
from product_search.errors import ImportFileError
from product_search.images.store import ImageStore
from product_search.outbox import counts as outbox_state
from tests.sessions import reading
from tests.unit import pictures
from tests.unit.pictures import encoded, four_colours

PNG = encoded(four_colours(), "PNG")
HEADER = "sku,title,description,category,brand,price,attributes,image_path\n"


class Shop:
    """A catalog and the folder that import files and images lie in."""

    def __init__(self, catalog: Catalog, folder: Path) -> None:
        self.catalog = catalog
        self.folder = folder

    def load(self, content: str | bytes, name: str = "a.csv") -> Report:
        """Import a file of this content."""
        path = self.folder / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return import_file(self.catalog, path, self.folder)

    def products(self) -> list[ProductOut]:
        """All products, oldest first."""
        found: list[ProductOut] = []
        while page := self.catalog.list(
            ProductListQuery(after_id=found[-1].product_id if found else 0, page_size=100)
        ).items:
            found += page
        return found

    def events(self) -> int:
        """How many index events wait."""
        with reading(self.catalog.database) as session:
            return outbox_state.count_pending(session)


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    database = Database(f"sqlite:///{tmp_path / 'catalog.sqlite3'}")
    migrate(database)
    folder = tmp_path / "files"
    (folder / "images").mkdir(parents=True)
    (folder / "images" / "a.png").write_bytes(PNG)
    (tmp_path / "secret.png").write_bytes(PNG)
    yield Shop(Catalog(database, ImageStore(tmp_path / "kept")), folder)
    database.close()


def counts(report: Report) -> tuple[int, int, int, list[int]]:
    return (
        report.counts.created,
        report.counts.updated,
        report.counts.unchanged,
        [bad.line for bad in report.bad_rows],
    )


WHOLE = HEADER + (
    'A-1,红色双肩包,"防泼水\n第二行",箱包,拾光,129.00,"{""颜色"": ""红""}",images/a.png\n'
    "A-2,  保温杯 🎒𠮷 ,,,,,,\n"
)


def test_every_column_goes_in(shop: Shop) -> None:
    assert counts(shop.load(WHOLE)) == (2, 0, 0, [])
    first, second = shop.products()
    assert (first.sku, first.title, first.description) == ("A-1", "红色双肩包", "防泼水\n第二行")
    assert (first.category, first.brand, str(first.price)) == ("箱包", "拾光", "129.00")
    assert first.attributes == {"颜色": "红"}
    assert shop.catalog.image(first.product_id, None).content == PNG
    assert (second.title, second.image_url, second.price) == ("  保温杯 🎒𠮷 ", None, None)
    assert (second.description, second.brand, second.attributes) == (None, None, {})
    assert shop.events() == 2


def test_running_it_again_changes_nothing(shop: Shop) -> None:
    shop.load(WHOLE)
    before = shop.products()
    assert counts(shop.load(WHOLE)) == (0, 0, 2, [])
    assert shop.products() == before
    assert shop.events() == 2


def test_a_changed_row_changes_its_product_only(shop: Shop) -> None:
    shop.load(WHOLE)
    first, second = shop.products()
    report = shop.load(WHOLE.replace("129.00", "99.5"))
    assert counts(report) == (0, 1, 1, [])
    assert report.counts.rows_done == 2
    changed, other = shop.products()
    assert (str(changed.price), changed.revision) == ("99.50", 2)
    assert (changed.product_id, other) == (first.product_id, second)


def test_columns_not_in_the_file_are_left_alone(shop: Shop) -> None:
    shop.load(WHOLE)
    before = shop.products()[0]
    assert counts(shop.load("title,sku\n红色双肩包,A-1\n")) == (0, 0, 1, [])
    assert counts(shop.load("sku,title,price\nA-1,蓝色双肩包,1\n")) == (0, 1, 0, [])
    after = shop.products()[0]
    changed = {
        "title": "蓝色双肩包",
        "price": after.price,
        "revision": 2,
        "updated_at": after.updated_at,
    }
    assert after == before.model_copy(update=changed)


def test_an_empty_cell_clears_its_field(shop: Shop) -> None:
    shop.load(WHOLE)
    cleared = HEADER + "A-1,红色双肩包,,,,,,\n"
    assert counts(shop.load(cleared)) == (0, 1, 0, [])
    after = shop.products()[0]
    assert (after.category, after.price, after.attributes, after.image_url) == (
        None,
        None,
        {},
        None,
    )


BAD_ROWS = {
    "no title": "B,,,,,,,",
    "blank title": "B, ,,,,,,",
    "no sku": ",书,,,,,,",
    "blank sku": " ,书,,,,,,",
    "negative price": "B,书,,,,-1,,",
    "nan": "B,书,,,,NaN,,",
    "a word": "B,书,,,,免费,,",
    "long title": f"B,{'x' * 501},,,,,,",
    "no json": "B,书,,,,,{oops,",
    "no object": "B,书,,,,,[1],",
    "nan inside": 'B,书,,,,,"{""a"": NaN}",',
    "few columns": "B,书",
    "many columns": "B,书,,,,,,,,",
    "no such picture": "B,书,,,,,,images/none.png",
    "a folder": "B,书,,,,,,images",
    "no picture": "B,书,,,,,,a.csv",
    "escape": "B,书,,,,,,../secret.png",
    "hidden escape": "B,书,,,,,,images/../../secret.png",
    "absolute": "B,书,,,,,,/etc/passwd",
    "nul": "B,书,,,,,,images/a.png\0",
    "very long path": f"B,书,,,,,,{'x' * 5000}",
}


@pytest.mark.parametrize("name", BAD_ROWS)
def test_a_bad_row_is_told_with_its_line_and_the_rest_goes_in(shop: Shop, name: str) -> None:
    text = f'{HEADER}A,"一\n一",,,,,,\n{BAD_ROWS[name]}\nC,三,,,,,,\n'
    report = shop.load(text)
    assert counts(report) == (2, 0, 0, [4])
    assert report.bad_rows[0].reason
    assert [product.sku for product in shop.products()] == ["A", "C"]


def test_a_link_out_of_the_folder_is_an_escape(shop: Shop) -> None:
    (shop.folder / "link.png").symlink_to(shop.folder.parent / "secret.png")
    (shop.folder / "round.png").symlink_to(shop.folder / "round.png")
    rows = "B,书,,,,,,link.png\nC,书,,,,,,round.png\nD,书,,,,,,images/a.png\n"
    assert counts(shop.load(HEADER + rows)) == (1, 0, 0, [2, 3])


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("truncated", PNG[:100]),
        ("svg", pictures.SVG),
        ("bomb", pictures.bomb_header()),
        ("large", pictures.over_ten_megabytes()),
    ],
)
def test_a_hostile_image_is_a_bad_row(shop: Shop, name: str, content: bytes) -> None:
    (shop.folder / "images" / f"{name}.png").write_bytes(content)
    report = shop.load(f"{HEADER}B,书,,,,,,images/{name}.png\nC,书,,,,,,images/a.png\n")
    assert counts(report) == (1, 0, 0, [2])


def test_a_bad_row_leaves_its_product_as_it_was(shop: Shop) -> None:
    shop.load(WHOLE)
    before = shop.products()
    report = shop.load(f"{HEADER}A-1,改了,,,,-5,,\nA-2,改了,,,,,,../secret.png\n")
    assert counts(report) == (0, 0, 0, [2, 3])
    assert shop.products() == before


def test_a_sku_twice_in_the_file_is_a_bad_row_that_names_the_first(shop: Shop) -> None:
    report = shop.load("sku,title\nA,一\nB,二\nA,三\na,四\n")
    assert counts(report) == (3, 0, 0, [4])
    assert "2" in report.bad_rows[0].reason
    assert [product.title for product in shop.products()] == ["一", "二", "四"]


def test_a_sku_twice_is_told_across_batches(shop: Shop) -> None:
    rows = "".join(f"S-{number},标题{number}\n" for number in range(BATCH_SIZE + 20))
    report = shop.load(f"sku,title\n{rows}S-0,又一次\n")
    assert counts(report) == (BATCH_SIZE + 20, 0, 0, [BATCH_SIZE + 22])
    assert shop.products()[0].title == "标题0"


def test_a_first_row_that_is_bad_does_not_take_its_sku(shop: Shop) -> None:
    assert counts(shop.load("sku,title,price\nA,一,-1\nA,二,1\n")) == (1, 0, 0, [2])


@pytest.mark.parametrize("encoding", ["utf-8-sig", "gb18030"])
def test_a_file_from_a_spreadsheet_is_read(shop: Shop, encoding: str) -> None:
    assert counts(shop.load(WHOLE.encode(encoding))) == (2, 0, 0, [])
    assert shop.products()[1].title == "  保温杯 🎒𠮷 "


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "sku,title,colour\nA,一,红\n"),
        ("a.csv", "sku\nA\n"),
        ("a.csv", b"sku,title\nA,\xff\xff\n"),
        ("a.csv", ""),
        ("a.xlsx", "sku,title\nA,一\n"),
    ],
)
def test_a_file_that_is_wrong_as_a_whole_writes_nothing(
    shop: Shop, name: str, content: str | bytes
) -> None:
    with pytest.raises(ImportFileError):
        shop.load(content, name)
    assert shop.products() == []
    assert shop.events() == 0


def jsonl(*rows: dict[str, Any] | str) -> str:
    return "".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows)


def test_jsonl_rows_go_in_with_their_types(shop: Shop) -> None:
    row = {"sku": "A", "title": "书🎒", "price": 19.9, "attributes": {"n": [1, None]}}
    text = jsonl(row, {"sku": "B", "title": "二", "image_path": "images/a.png", "price": "0.01"})
    assert counts(shop.load(text, "a.jsonl")) == (2, 0, 0, [])
    assert counts(shop.load(text, "a.jsonl")) == (0, 0, 2, [])
    first, second = shop.products()
    assert (first.title, str(first.price), first.attributes) == ("书🎒", "19.90", {"n": [1, None]})
    assert second.image_url is not None
    changed = jsonl({"sku": "B", "title": "二", "price": None, "image_path": None})
    assert counts(shop.load(changed, "a.jsonl")) == (0, 1, 0, [])
    assert (shop.products()[1].price, shop.products()[1].image_url) == (None, None)


@pytest.mark.parametrize(
    "row",
    [
        "{",
        "[]",
        '"text"',
        '{"sku": "B"}',
        '{"title": "书"}',
        '{"sku": null, "title": "书"}',
        '{"sku": 5, "title": "书"}',
        '{"sku": "B", "title": "书", "colour": 1}',
        '{"sku": "B", "title": "书", "image_base64": "AA=="}',
        '{"sku": "B", "title": "书", "generation": {"generation_id": 1}}',
        '{"sku": "B", "title": "书", "image_url": "http://shop.test/a.jpg"}',
        '{"sku": "B", "title": "书", "price": NaN}',
        '{"sku": "B", "title": "书", "price": 1e400}',
        '{"sku": "B", "title": "书", "attributes": {"a": 1e400}}',
        '{"sku": "B", "title": "书", "attributes": "no"}',
        '{"sku": "B", "title": "书", "image_path": 5}',
        '{"sku": "B", "title": "书", "image_path": ["images/a.png"]}',
        '{"sku": "B", "title": "书", "image_path": "../secret.png"}',
        '{"sku": "B", "title": "书", "image_path": "a\\u0000.png"}',
        '{"sku": "B", "title": "书", "image_path": "\\ud800.png"}',
        '{"sku": "B", "title": "\\ud800"}',
        '{"sku": "\\ud800", "title": "书"}',
        '{"sku": "B", "title": "书", "\\ud800": 1}',
        '{"sku": "B", "title": "书", "attributes": ' + "[" * 5_000 + "}",
    ],
    ids=lambda row: ascii(row)[-36:],
)
def test_a_bad_jsonl_row_is_told_and_the_rest_goes_in(shop: Shop, row: str) -> None:
    report = shop.load(
        jsonl({"sku": "A", "title": "一"}, row, {"sku": "C", "title": "三"}), "a.jsonl"
    )
    assert counts(report) == (2, 0, 0, [2])
    assert report.bad_rows[0].reason.encode()
    assert [product.sku for product in shop.products()] == ["A", "C"]


def test_progress_is_told_batch_by_batch(shop: Shop) -> None:
    rows = "".join(f"S-{number},标题\n" for number in range(2 * BATCH_SIZE + 1))
    path = shop.folder / "many.csv"
    path.write_text("sku,title\n" + rows, "utf-8")
    told: list[ImportCounts] = []
    import_file(shop.catalog, path, shop.folder, told.append)
    assert len(told) >= 4
    assert [counts.rows_done for counts in told] == sorted({counts.rows_done for counts in told})
    assert {counts.rows_total for counts in told} == {2 * BATCH_SIZE + 1}
    assert (told[0].rows_done, told[-1].rows_done) == (0, 2 * BATCH_SIZE + 1)


def test_products_made_otherwise_are_updated_by_their_sku(shop: Shop) -> None:
    made = shop.catalog.create({"title": "书", "sku": "A", "brand": "拾光"}, PNG)
    assert counts(shop.load("sku,title\nA,新书\n")) == (0, 1, 0, [])
    (after,) = shop.products()
    assert (after.product_id, after.title, after.brand) == (made.product_id, "新书", "拾光")
    assert after.image_url is not None

"""Export and import again: the same catalog, on every database."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from data_models import ProductListQuery, ProductOut
from orm_models import Database
from product_search.bootstrap.migrate import migrate
from product_search.bulk.exporter import export_catalog
from product_search.bulk.importer import import_file
from product_search.catalog.products import Catalog
from product_search.errors import StorageUnavailable
from product_search.images.provenance import as_png
from product_search.images.store import ImageStore
from tests.hostile import HOSTILE
from tests.unit.pictures import encoded, file_of, good_images, noise

ATTRIBUTES: list[dict[str, Any]] = [
    {},
    {"n": [1, 1.0, True, None, -0.5, 2**62, "1"], "嵌": {"套": [{}, []]}},
    {"\u2028\n\"'\\": "\x00\r\n\x85\u2028🎒"},
    {"款号": "VR-1"},
]


def catalogue(database: Database, folder: Path) -> Catalog:
    return Catalog(database, ImageStore(folder))


def everything(catalog: Catalog) -> list[ProductOut]:
    found: list[ProductOut] = []
    while page := catalog.list(
        ProductListQuery(after_id=found[-1].product_id if found else 0, page_size=100)
    ).items:
        found += page
    return found


def original(catalog: Catalog, product_id: int) -> bytes:
    """The product's image as it came."""
    image_hash = catalog.image(product_id, None).etag[:64]
    return catalog.images.original(image_hash).content


def comparable(catalog: Catalog) -> list[Any]:
    """What an export carries, attributes with their types."""
    rows = []
    for item in everything(catalog):
        image = original(catalog, item.product_id) if item.image_url else None
        fields = (
            *(item.sku, item.title, item.description, item.category, item.brand, item.price),
            item.group,
        )
        rows.append((*fields, json.dumps(item.attributes, sort_keys=True), image))
    return rows


def exported(catalog: Catalog, target: Path) -> tuple[int, int, list[str]]:
    done = export_catalog(catalog.database, catalog.images, target, lambda: None)
    return done.products, done.images, done.without_image


def imported(folder: Path, file: Path) -> Catalog:
    """The file in an empty catalog of another machine."""
    database = Database(f"sqlite:///{folder / 'other.sqlite3'}")
    migrate(database)
    catalog = catalogue(database, folder / "other")
    report = import_file(catalog, file, folder)
    assert report.bad_rows == []
    return catalog


@pytest.fixture
def catalog(database: Database, tmp_path: Path) -> Catalog:
    """A catalog of hostile texts, every kind of image, and a product of nothing but a title."""
    catalog = catalogue(database, tmp_path / "images")
    pictures = list(good_images().values())
    for number, text in enumerate(HOSTILE):
        visible = text if any(char.isprintable() and char != " " for char in text) else f"书{text}"
        fields: dict[str, Any] = {
            "sku": visible[:100],
            "title": f"标题 {text}",
            "description": text,
        }
        fields |= {"category": visible[:100], "brand": visible[:100]}
        if number % 3:  # else it is the one that the attributes name, or none
            fields |= {"group": visible[:100] if number % 2 else None}
        catalog.create(
            fields
            | {
                "price": Decimal(number) / 100,
                "attributes": ATTRIBUTES[number % len(ATTRIBUTES)],
            },
            pictures[number % len(pictures)],
        )
    catalog.create({"title": "只有标题", "sku": "only"}, None)
    return catalog


def test_an_export_imported_elsewhere_is_the_same_catalog(catalog: Catalog, tmp_path: Path) -> None:
    file = tmp_path / "all.zip"
    pictures = len(set(good_images().values()))
    assert exported(catalog, file) == (len(HOSTILE) + 1, pictures, [])
    other = imported(tmp_path, file)
    assert comparable(other) == comparable(catalog)
    again = import_file(other, file, tmp_path)
    assert again.counts.unchanged == len(HOSTILE) + 1
    back = import_file(catalog, file, tmp_path)
    assert back.counts.unchanged == len(HOSTILE) + 1
    other.database.close()


FORMULAS = [f"{quote}{mark}1+1" for quote in ("", "'", '"') for mark in "=+-@＝\t\r"]


def test_texts_that_a_spreadsheet_would_compute_come_back_as_they_are(
    database: Database, tmp_path: Path
) -> None:
    """An export is JSON, which no spreadsheet opens as cells: nothing in it needs an apostrophe."""
    catalog = catalogue(database, tmp_path / "images")
    for number, text in enumerate(FORMULAS):
        catalog.create({"title": text, "description": text, "sku": f"{text}{number}"}, None)
    file = tmp_path / "all.zip"
    exported(catalog, file)
    other = imported(tmp_path, file)
    assert comparable(other) == comparable(catalog)
    other.database.close()


def test_images_that_a_model_made_lie_apart_and_are_known_again(
    database: Database, tmp_path: Path
) -> None:
    catalog = catalogue(database, tmp_path / "images")
    catalog.create({"title": "画的", "sku": "a"}, as_png(noise((8, 8)), {}))
    catalog.create({"title": "拍的", "sku": "b"}, encoded(noise((8, 8)), "PNG"))
    file = tmp_path / "all.zip"
    exported(catalog, file)
    with zipfile.ZipFile(file) as archive:
        pictures = [name for name in archive.namelist() if name.startswith("pictures/")]
    assert sorted(Path(name).parent.name for name in pictures) == ["generated", "pictures"]
    other = imported(tmp_path, file)
    assert [item.image_generated for item in everything(other)] == [True, False]
    other.database.close()


def test_a_product_without_a_sku_gets_one_that_no_other_has(
    database: Database, tmp_path: Path
) -> None:
    catalog = catalogue(database, tmp_path / "images")
    first = catalog.create({"title": "一"}, None)
    second = catalog.create({"title": "二"}, None)
    catalog.create({"title": "三", "sku": f"id-{first.product_id}"}, None)
    file = tmp_path / "all.zip"
    exported(catalog, file)
    other = imported(tmp_path, file)
    assert [item.sku for item in everything(other)] == [
        f"id-{first.product_id}-{first.milvus_id}",
        f"id-{second.product_id}",
        f"id-{first.product_id}",
    ]
    assert [item.sku for item in everything(catalog)][:2] == [None, None]
    other.database.close()


def test_an_export_is_the_operators_own_with_all_that_files_tell(
    database: Database, tmp_path: Path
) -> None:
    catalog = catalogue(database, tmp_path / "images")
    told = encoded(noise((30, 20)), "JPEG", comment=b"taken at home") + b"and more"
    product = catalog.create({"title": "照片", "sku": "told"}, told)
    exported(catalog, tmp_path / "all.zip")
    other = imported(tmp_path, tmp_path / "all.zip")
    (again,) = everything(other)
    assert original(other, again.product_id) == told
    assert b"home" not in catalog.image(product.product_id, None).content
    other.database.close()


def test_a_lost_image_is_told_and_its_product_goes_without(
    catalog: Catalog, tmp_path: Path
) -> None:
    first = everything(catalog)[0]
    lost = catalog.image(first.product_id, None)
    file_of(catalog.images, lost.etag[:64]).write_bytes(b"damaged")
    file = tmp_path / "all.zip"
    products, _, without = exported(catalog, file)
    assert products == len(HOSTILE) + 1
    assert first.sku in without
    other = imported(tmp_path, file)
    assert [item.image_url is None for item in everything(other)].count(True) == len(without) + 1
    other.database.close()


def test_an_export_is_of_one_moment(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Products that change while the rows are read are exported as they were before."""
    monkeypatch.setattr("product_search.bulk.exporter.PAGE", 5)
    before = comparable(catalog)
    product_ids = [item.product_id for item in everything(catalog)]
    _when_the_second_page_is_read(catalog.database, lambda: _change(catalog, product_ids))
    exported(catalog, tmp_path / "all.zip")
    assert len(comparable(catalog)) == len(before)
    assert comparable(catalog) != before
    other = imported(tmp_path, tmp_path / "all.zip")
    assert comparable(other) == before
    other.database.close()


def _when_the_second_page_is_read(database: Database, change: Callable[[], None]) -> None:
    pages: list[str] = []

    @event.listens_for(database.engine, "after_cursor_execute")
    def look(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if "FROM product" in statement and "LIMIT" in statement:
            pages.append(statement)
            if len(pages) == 2:
                change()


def _change(catalog: Catalog, product_ids: list[int]) -> None:
    catalog.delete(product_ids[-2])
    catalog.update(product_ids[-1], {"title": "改了"}, None)
    catalog.update(product_ids[20], {"price": Decimal("99.99")}, None)
    catalog.create({"title": "新来的", "sku": "new"}, None)


def test_an_export_that_can_not_be_written_leaves_what_was_there(
    catalog: Catalog, tmp_path: Path
) -> None:
    file = tmp_path / "all.zip"
    file.write_bytes(b"as it was")

    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_catalog(catalog.database, catalog.images, file, stop)
    assert file.read_bytes() == b"as it was"
    assert list(tmp_path.glob(".export-*")) == []
    with pytest.raises(StorageUnavailable):
        exported(catalog, tmp_path / "none" / "all.zip")


def test_the_table_is_packed_and_each_image_is_there_once(catalog: Catalog, tmp_path: Path) -> None:
    exported(catalog, tmp_path / "all.zip")
    with zipfile.ZipFile(tmp_path / "all.zip") as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        assert len(names) == len(set(names))
        assert names[-1] == "products.jsonl"
        assert {name.partition("/")[0] for name in names[:-1]} == {"pictures"}
        assert archive.getinfo("products.jsonl").compress_type == zipfile.ZIP_DEFLATED

"""The catalog's words follow the catalog, whichever process has changed it."""

from __future__ import annotations

from pathlib import Path

import pytest

from orm_models import Database
from product_search.catalog.products import KEEP_IMAGE, Catalog
from product_search.images.store import ImageStore
from product_search.suggestions.catalog_words import CatalogWords


@pytest.fixture
def catalog(database: Database, tmp_path: Path) -> Catalog:
    """A catalog over the database, as another process has it too."""
    return Catalog(database, ImageStore(tmp_path / "images"))


def test_words_follow_products_that_are_created_changed_and_deleted(
    catalog: Catalog, database: Database
) -> None:
    words = CatalogWords(database)
    words.refresh()
    assert not words.vocabulary.has("sony")

    made = catalog.create({"title": "Sony 耳机", "brand": "JBL"}, None)
    words.refresh()
    assert words.vocabulary.has("sony")
    assert words.vocabulary.has("jbl")

    catalog.update(made.product_id, {"title": "Bose 耳机"}, KEEP_IMAGE)
    words.refresh()
    assert words.vocabulary.has("bose")
    assert not words.vocabulary.has("sony")

    catalog.delete(made.product_id)
    words.refresh()
    assert not words.vocabulary.has("bose")


def test_a_deletion_and_a_creation_together_are_seen(catalog: Catalog, database: Database) -> None:
    first = catalog.create({"title": "Sony"}, None)
    words = CatalogWords(database)
    words.refresh()
    catalog.delete(first.product_id)
    catalog.create({"title": "Bose"}, None)
    words.refresh()
    assert words.vocabulary.has("bose")
    assert not words.vocabulary.has("sony")


def test_words_are_counted_by_product_not_by_mention(catalog: Catalog, database: Database) -> None:
    catalog.create({"title": "Pony pony pony"}, None)
    for title in ("Sony A", "Sony B"):
        catalog.create({"title": title}, None)
    words = CatalogWords(database)
    words.refresh()
    found = [words.suggestions.get(text) for text in ("sony", "pony")]
    assert [one and one.products for one in found] == [2, 1]

"""The duplicates page's logic: what is found, and that only what was named is deleted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
from streamlit.testing.v1 import AppTest

from data_models import DuplicatesQuery, ProductOut
from product_search.client import ApiClient, ApiError
from tests.demo.pages import followed, html, opened, said, titles

PAGE = "pages/duplicates.py"


@pytest.fixture
def copies(
    service: ApiClient, png: Callable[..., bytes]
) -> Iterator[tuple[ProductOut, ProductOut, ProductOut]]:
    """Three products with one image, as the last search has found them."""
    names = ("青色水杯 甲", "青色水杯 乙", "青色水杯 丙")
    made = [service.create_product({"title": name}, png("teal"), wait=True) for name in names]
    service.find_duplicates()
    followed(lambda: service.get_duplicates(DuplicatesQuery()).newest)
    yield made[0], made[1], made[2]
    for product in made:
        with suppress(ApiError):  # a test may have deleted it
            service.delete_product(product.product_id)


def pressed(page: AppTest, key: str) -> AppTest:
    return page.button(key=key).click().run()


def there(service: ApiClient, products: tuple[ProductOut, ...]) -> list[str]:
    found = []
    for product in products:
        with suppress(ApiError):
            found.append(service.get_product(product.product_id).title)
    return found


@pytest.mark.usefixtures("api_url")
def test_a_search_is_started_and_its_groups_are_shown(
    service: ApiClient, copies: tuple[ProductOut, ...]
) -> None:
    page = opened(PAGE)
    pressed(page, "search_duplicates")
    followed(lambda: service.get_duplicates(DuplicatesQuery()).newest)
    page.run()
    assert "1 组重复" in said(page)
    assert titles(page) == [product.title for product in copies]
    assert html(page).count("同一图片文件 · 100%") == 3
    assert "加入" in html(page)
    page.slider(key="threshold").set_value(100).run()
    assert len(titles(page)) == 3


@pytest.mark.usefixtures("api_url")
def test_one_is_kept_and_the_others_are_deleted_once_they_were_named(
    service: ApiClient, copies: tuple[ProductOut, ...]
) -> None:
    first, second, third = copies
    page = opened(PAGE)
    assert "删除" not in "".join(button.label for button in page.button)
    pressed(page, f"only_{second.product_id}")
    pressed(page, f"delete_{first.product_id}")
    named = titles(page)[3:]
    assert named == [first.title, third.title]
    assert there(service, copies) == [product.title for product in copies]
    pressed(page, "confirm_delete")
    assert there(service, copies) == [second.title]
    assert "已删除 2 件" in said(page)
    assert titles(page) == []
    assert "没有重复的商品" in said(page)


@pytest.mark.usefixtures("api_url")
def test_what_was_not_confirmed_stays_and_one_must_be_kept(
    service: ApiClient, copies: tuple[ProductOut, ...]
) -> None:
    first, second, third = copies
    page = opened(PAGE)
    page.toggle(key=f"keep_{third.product_id}").set_value(False).run()
    pressed(page, f"delete_{first.product_id}")
    pressed(page, "cancel_delete")
    assert there(service, copies) == [product.title for product in copies]
    page.toggle(key=f"keep_{first.product_id}").set_value(False)
    page.toggle(key=f"keep_{second.product_id}").set_value(False).run()
    assert "至少留下一件" in said(page)
    assert f"delete_{first.product_id}" not in {button.key for button in page.button}


@pytest.mark.usefixtures("api_url")
def test_what_somebody_else_has_deleted_is_no_error(
    service: ApiClient, copies: tuple[ProductOut, ...]
) -> None:
    first, second, _third = copies
    page = opened(PAGE)
    pressed(page, f"only_{first.product_id}")
    service.delete_product(second.product_id)
    pressed(page, f"delete_{first.product_id}")
    pressed(page, "confirm_delete")
    assert not page.error
    assert there(service, copies) == [first.title]


@pytest.mark.usefixtures("silent_url")
def test_a_silent_api_is_told() -> None:
    assert "无法连接 API" in said(opened(PAGE))

"""A real browser on the map page."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from data_models import ProductListQuery, VectorField
from product_search.client import ApiClient
from tests.demo.pages import drawn


def test_a_point_shows_its_image_and_opens_its_product(
    page: Page, pages_url: str, service: ApiClient
) -> None:
    drawn(service, VectorField.image_clip)
    page.goto(f"{pages_url}/map")
    points = page.locator(".st-key-map .scatterlayer .point")
    expect(points).to_have_count(21)
    box = points.last.bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x + 3, y)
    page.mouse.move(x, y)
    tip = page.get_by_role("tooltip")
    expect(tip.locator("img")).to_be_visible()
    expect(tip.locator("img")).not_to_have_js_property("naturalWidth", 0)
    title = tip.inner_text().strip()
    page.mouse.click(x, y)
    product = page.locator(".st-key-map_product")
    expect(product).to_contain_text(title)
    page.mouse.move(0, 0)
    expect(tip).to_be_hidden()
    product.get_by_role("button", name="找相似").click()
    expect(page).to_have_url(f"{pages_url}/?like={_number(service, title)}")
    expect(page.get_by_role("article").first).to_be_visible()


def _number(service: ApiClient, title: str) -> int:
    """The id of the product with the title."""
    return service.list_products(ProductListQuery(q=title)).items[0].product_id

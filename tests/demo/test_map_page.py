"""The map page's logic: what the plot is given."""

from __future__ import annotations

import json
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from data_models import CatalogMap, VectorField
from product_search.client import ApiClient
from tests.demo.pages import drawn, opened, said

PAGE = "pages/map.py"


def plotted(page: AppTest) -> list[dict[str, Any]]:
    assert not page.exception
    traces: list[dict[str, Any]] = json.loads(page.get("plotly_chart")[0].proto.spec)["data"]
    return traces


@pytest.fixture
def catalog_map(service: ApiClient) -> CatalogMap:
    return drawn(service, VectorField.image_clip)


@pytest.mark.usefixtures("api_url")
def test_each_product_is_a_point_with_its_image_in_the_colour_of_its_category(
    service: ApiClient, catalog_map: CatalogMap
) -> None:
    page = opened(PAGE)
    traces = plotted(page)
    assert [trace["name"] for trace in traces] == ["箱包", "生鲜果蔬"]
    assert len({trace["marker"]["color"] for trace in traces}) == 2
    told = {point[0]: point[1:] for trace in traces for point in trace["customdata"]}
    assert set(told) == {point.product_id for point in catalog_map.points}
    number = catalog_map.points[0].product_id
    title, address = told[number]
    assert title == service.get_product(number).title
    assert address == f"{service.base_url}/product/{number}/image?size=256"


@pytest.mark.usefixtures("api_url", "catalog_map")
def test_it_is_told_what_near_means_and_how_much_is_shown() -> None:
    page = opened(PAGE)
    assert "图片看上去相近" in said(page)
    assert "显示有图片的 21 件中的 21 件" in said(page)
    assert "留住了全部差别的" in said(page)


@pytest.mark.usefixtures("api_url")
def test_another_field_is_another_map_with_the_products_that_have_no_image(
    service: ApiClient,
) -> None:
    drawn(service, VectorField.text_bge)
    page = opened(PAGE)
    page.segmented_control(key="map_field").set_value(VectorField.text_bge).run()
    assert "标题的意思相近" in said(page)
    assert "显示 22 件中的 22 件" in said(page)
    assert sum(len(trace["x"]) for trace in plotted(page)) == 22


@pytest.mark.usefixtures("silent_url")
def test_a_silent_api_is_told() -> None:
    assert "无法连接 API" in said(opened(PAGE))

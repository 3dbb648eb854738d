"""The pages' logic, run without a browser, over the real API and over none."""

from __future__ import annotations

import re
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from streamlit.testing.v1 import AppTest

from data_models import SearchMode
from product_search import demo
from product_search.api_client import ApiClient, ApiError
from tests.demo.pages import Upload, html, opened, said, titles


def searched(mode: SearchMode, words: str) -> AppTest:
    page = opened()
    page.segmented_control(key="mode").set_value(mode)
    page.run()
    return page.text_input(key="text").set_value(words).run()


def uploaded(mode: SearchMode, file: Upload) -> AppTest:
    page = opened()
    page.segmented_control(key="mode").set_value(mode)
    page.run()
    return page.file_uploader(key="image").set_value(file).run()


# Searching


@pytest.mark.usefixtures("api_url")
def test_words_find_the_right_title_first() -> None:
    page = searched(SearchMode.text_to_text, "葡萄")
    assert "葡萄" in titles(page)[0]
    assert re.search(r"符合度 \d{1,3}%<", html(page))
    assert "¥42.90" in html(page)
    assert "用时" in said(page)


@pytest.mark.usefixtures("api_url")
def test_words_bring_cards_with_pictures_in_the_image_mode() -> None:
    page = searched(SearchMode.text_to_image, "苹果")
    assert 0 < len(titles(page)) == html(page).count("<img src=") <= 10


@pytest.mark.usefixtures("api_url")
def test_a_picture_finds_its_own_product_first(apple: Upload) -> None:
    page = uploaded(SearchMode.image_to_image, apple)
    assert titles(page)[0].startswith("红富士苹果")
    fit = re.search(r"符合度 (\d+)%<", html(page))
    assert fit is not None
    assert int(fit.group(1)) >= 95
    assert 'class="ps-preview"' in html(page)


@pytest.mark.usefixtures("api_url")
def test_a_picture_finds_titles(apple: Upload) -> None:
    assert "苹果" in "".join(titles(uploaded(SearchMode.image_to_text, apple))[:5])


@pytest.mark.usefixtures("api_url")
@pytest.mark.parametrize("mode", list(SearchMode))
def test_a_mode_shows_only_the_input_that_it_takes(mode: SearchMode) -> None:
    page = opened()
    page.segmented_control(key="mode").set_value(mode)
    page.run()
    assert not page.exception
    takes_both = mode is SearchMode.hybrid
    assert ("text" in {box.key for box in page.text_input}) == (mode.takes_text or takes_both)
    assert bool(page.file_uploader) == (takes_both or not mode.takes_text)


@pytest.mark.usefixtures("api_url")
def test_what_matches_nothing_is_told_with_the_nearest() -> None:
    page = searched(SearchMode.hybrid, "asdkjh")
    assert "没有找到符合条件的商品" in said(page)
    corrected = searched(SearchMode.hybrid, "xigua")
    assert "已按“西瓜”搜索" in said(corrected)
    assert "西瓜" in titles(corrected)[0]


@pytest.mark.usefixtures("api_url")
def test_filters_chosen_or_typed_narrow_the_results() -> None:
    page = searched(SearchMode.text_to_text, "红色")
    assert "生鲜果蔬" in page.multiselect(key="filter_category").options
    page.multiselect(key="filter_category").set_value(["生鲜果蔬"])
    page.number_input(key="filter_min_price").set_value(40.0)
    page.number_input(key="filter_max_price").set_value(50.0).run()
    prices = [float(price) for price in re.findall(r"¥([\d.]+)<", html(page))]
    assert prices
    assert all(40 <= price <= 50 for price in prices)
    page.multiselect(key="filter_brand").set_value(["没有这个品牌"]).run()
    assert titles(page) == []
    assert "没有找到符合条件的商品" in said(page)


@pytest.mark.usefixtures("api_url")
def test_crossed_prices_are_told_and_swapped() -> None:
    page = searched(SearchMode.text_to_text, "红色")
    page.number_input(key="filter_min_price").set_value(50.0)
    page.number_input(key="filter_max_price").set_value(40.0).run()
    assert "已对调" in said(page)
    assert titles(page)


@pytest.mark.usefixtures("api_url")
def test_the_next_results_go_on_and_another_query_starts_anew() -> None:
    page = searched(SearchMode.text_to_text, "红色")
    page.toggle(key="only_fitting").set_value(False).run()
    first = titles(page)
    page.button(key="next").click().run()
    assert "第 11–20 件" in said(page)
    assert not set(first) & set(titles(page))
    page.button(key="next").click().run()
    assert "第 21–22 件" in said(page)
    assert "next" not in {button.key for button in page.button}
    page.text_input(key="text").set_value("绿色").run()
    assert "第 1–10 件" in said(page)


@pytest.mark.usefixtures("api_url")
def test_the_shipped_model_is_named_with_the_way_to_a_better_one() -> None:
    assert "python -m product_search.manage download-models" in said(opened())


@pytest.mark.usefixtures("api_url")
def test_an_unreadable_picture_is_explained() -> None:
    page = uploaded(SearchMode.image_to_image, ("坏.png", b"no picture", "image/png"))
    assert "不是可识别的图片" in said(page)


def test_a_field_that_the_api_refuses_is_named_in_chinese(service: ApiClient) -> None:
    with pytest.raises(ApiError) as refused:
        service.search({"text": "书" * 513, "filters": {"brand": [""]}})
    lines = demo.error_text(refused.value).splitlines()
    assert lines[0] == "请求有误："
    assert set(lines[2:]) == {"- 搜索词：最多 512 个字符", "- 品牌：不能为空"}


@pytest.mark.usefixtures("api_url")
def test_a_title_cannot_bring_its_own_html(service: ApiClient) -> None:
    title = '<img src=x onerror="alert(1)"> **粗体** :red[红] 怪标题'
    hostile = service.create({"title": title}, wait=True)
    try:
        page = searched(SearchMode.text_to_text, "怪标题")
        assert "<img src=x" not in html(page)
        assert "&lt;img src=x" in titles(page)[0]
    finally:
        service.delete(hostile.product_id)


# Without an API


@pytest.mark.usefixtures("silent_url")
@pytest.mark.parametrize("name", ["web_demo.py", "pages/catalogue.py"])
def test_a_page_says_that_the_api_is_down_and_how_to_start_it(name: str) -> None:
    page = opened(name)
    assert "无法连接 API（" in said(page)
    assert "make serve" in said(page)
    assert page.button(key="retry")


def test_a_page_says_that_the_address_is_not_this_api(monkeypatch: pytest.MonkeyPatch) -> None:
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        address = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setenv("PRODUCT_SEARCH_API_URL", address)
        page = opened()
        server.shutdown()
        thread.join()
    assert f"`{address}` 的回答无法识别" in said(page)

"""The pages' logic, run without a browser, over the real API and over none."""

from __future__ import annotations

import json
import re
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from streamlit.testing.v1 import AppTest

from data_models import InterpretedKind, ProductListQuery, SearchMode
from product_search.client import ApiClient, ApiError
from product_search.demo.errors import error_text
from product_search.demo.views.search.query import AUTO, EXAMPLE_QUERIES, MODE_NAMES
from product_search.demo.views.search.understanding import KIND_NAMES
from product_search.settings import ROOT
from tests.demo.pages import Upload, html, opened, said, titles


def searched(words: str, mode: str = AUTO) -> AppTest:
    page = opened()
    page.segmented_control(key="mode_zh").set_value(mode)
    page.run()
    return page.text_input(key="text").set_value(words).run()


def uploaded(file: Upload, mode: str = AUTO) -> AppTest:
    page = opened()
    page.segmented_control(key="mode_zh").set_value(mode)
    page.run()
    return page.file_uploader(key="image_0").set_value(file).run()


# Searching


@pytest.mark.usefixtures("api_url")
def test_words_find_the_right_title_first() -> None:
    page = searched("葡萄", SearchMode.text_to_text)
    assert "葡萄" in titles(page)[0]
    assert re.search(r"符合度 \d{1,3}%<", html(page))
    assert "¥42.90" in html(page)
    assert "用时" in said(page)


@pytest.mark.usefixtures("api_url")
def test_words_bring_cards_with_images_in_the_image_mode() -> None:
    page = searched("苹果", SearchMode.text_to_image)
    assert 0 < len(titles(page)) == html(page).count("<img src=") <= 10


@pytest.mark.usefixtures("api_url")
def test_an_image_finds_its_own_product_first(apple: Upload) -> None:
    page = uploaded(apple, SearchMode.image_to_image)
    assert titles(page)[0].startswith("红富士苹果")
    fit = re.search(r"符合度 (\d+)%<", html(page))
    assert fit is not None
    assert int(fit.group(1)) >= 95
    assert 'class="ps-preview"' in html(page)


@pytest.mark.usefixtures("api_url")
def test_an_image_finds_titles(apple: Upload) -> None:
    assert "苹果" in "".join(titles(uploaded(apple, SearchMode.image_to_text))[:5])


@pytest.mark.usefixtures("api_url")
@pytest.mark.parametrize("mode", list(MODE_NAMES))
def test_a_mode_shows_only_the_input_that_it_takes(mode: str) -> None:
    page = opened()
    page.segmented_control(key="mode_zh").set_value(mode)
    page.run()
    assert not page.exception
    takes_text = mode == AUTO or SearchMode(mode).takes_text
    takes_image = mode == AUTO or not SearchMode(mode).takes_text
    assert ("text" in {box.key for box in page.text_input}) == takes_text
    assert bool(page.file_uploader) == takes_image


@pytest.mark.usefixtures("api_url")
def test_words_and_an_image_are_one_query(apple: Upload) -> None:
    page = searched("绿色")
    page.file_uploader(key="image_0").set_value(apple).run()
    assert any("苹果" in title for title in titles(page))
    assert any("绿" in title for title in titles(page))
    assert 'class="ps-preview"' in html(page)
    page.button(key="remove_picture").click().run()
    assert 'class="ps-preview"' not in html(page)
    assert page.file_uploader(key="image_1").value is None


@pytest.mark.usefixtures("api_url")
def test_an_example_query_is_asked_by_a_click() -> None:
    page = opened()
    page.button(key="example_1").click().run()
    assert page.text_input(key="text").value == EXAMPLE_QUERIES[1]
    assert "书包" in titles(page)[0] or "双肩包" in titles(page)[0]


@pytest.mark.usefixtures("api_url")
def test_products_compose_the_query_and_are_taken_out_of_it(service: ApiClient) -> None:
    page = searched("书包")
    [red] = service.list_products(ProductListQuery(q="红色双肩包")).items
    page.button(key=f"unlike_{red.product_id}").click().run()
    assert page.query_params["unlike"] == str(red.product_id)
    assert red.title not in titles(page)
    page.button(key=f"drop_unlike_{red.product_id}").click().run()
    assert "unlike" not in page.query_params
    assert red.title in titles(page)
    page.text_input(key="text").set_value("").run()
    assert titles(page) == []


@pytest.mark.usefixtures("api_url")
def test_an_address_brings_the_whole_query(service: ApiClient) -> None:
    [red] = service.list_products(ProductListQuery(q="红色双肩包")).items
    page = AppTest.from_file(ROOT / "web_demo.py", default_timeout=60)
    page.query_params["like"] = str(red.product_id)
    page.query_params["sort"] = "price_asc"
    page.query_params["only_fitting"] = "false"
    page.run()
    assert "像 红色双肩包" in page.button(key=f"drop_like_{red.product_id}").label.replace("\\", "")
    prices = [float(price) for price in re.findall(r"¥([\d.]+)<", html(page))]
    assert len(prices) == 10
    assert prices == sorted(prices)


@pytest.mark.usefixtures("api_url")
def test_a_card_says_why_it_matched() -> None:
    page = searched("葡萄")
    assert "为何匹配" in html(page)
    assert re.search(r"<li>字词：第 \d+ 名，占 \d+%</li>", html(page))


@pytest.mark.usefixtures("api_url")
def test_what_hardly_fits_is_folded_away() -> None:
    page = searched("书包")
    page.toggle(key="only_fitting").set_value(False).run()
    folded = [one for one in page.expander if one.label.startswith("不大符合的")]
    assert len(folded) == 1
    assert not folded[0].proto.expanded


@pytest.mark.usefixtures("api_url")
def test_a_facet_filters_by_a_click() -> None:
    page = searched("红色")
    page.toggle(key="only_fitting").set_value(False).run()
    count = int(page.button(key="facet_category_生鲜果蔬").label.split()[-1])
    page.button(key="facet_category_生鲜果蔬").click().run()
    assert page.multiselect(key="category").value == ["生鲜果蔬"]
    assert f"共 {count} 件" in said(page) or f"至少 {count} 件" in said(page)


@pytest.mark.usefixtures("api_url")
def test_an_attribute_filters_by_a_click_and_no_longer_by_another() -> None:
    page = searched("书包")
    page.toggle(key="only_fitting").set_value(False).run()
    before = re.findall(r"(?:至少|共) \d+ 件", said(page))
    red = page.button(key="facet_attribute_颜色_'红'")
    count = int(red.label.split()[-1])
    red.click().run()
    assert json.loads(page.query_params["attributes"]) == {"颜色": ["红"]}
    assert f"共 {count} 件" in said(page) or f"至少 {count} 件" in said(page)
    page.button(key="drop_attribute_颜色_'红'").click().run()
    assert "attributes" not in page.query_params
    assert re.findall(r"(?:至少|共) \d+ 件", said(page)) == before


@pytest.mark.usefixtures("api_url")
@pytest.mark.parametrize(
    ("given", "kept"),
    [('{"颜色": ["红"]}', True), ("{", False), ("[]", False), ('{"颜色": {"gte": 1}}', False)],
)
def test_an_address_brings_attributes_if_they_are_any(given: str, kept: bool) -> None:
    page = AppTest.from_file(ROOT / "web_demo.py", default_timeout=60)
    page.query_params["attributes"] = given
    page.query_params["text"] = "书包"
    page.run()
    assert titles(page)
    assert ("drop_attribute_颜色_'红'" in {one.key for one in page.button}) is kept


@pytest.mark.usefixtures("api_url")
def test_values_that_are_written_alike_are_told_apart() -> None:
    page = AppTest.from_file(ROOT / "web_demo.py", default_timeout=60)
    page.query_params["attributes"] = '{"防水": [true, "True", true]}'
    page.run()
    assert not page.exception
    assert len([one for one in page.button if (one.key or "").startswith("drop_attribute_")]) == 2


@pytest.mark.usefixtures("api_url")
def test_the_page_speaks_english() -> None:
    page = AppTest.from_file(ROOT / "web_demo.py", default_timeout=60)
    page.query_params["lang"] = "English"
    page.query_params["text"] = "asdkjh"
    page.run()
    assert page.title[0].value == "Search"
    assert "No match" in said(page)


@pytest.mark.usefixtures("api_url")
def test_what_matches_nothing_is_told_with_the_nearest() -> None:
    page = searched("asdkjh", AUTO)
    assert "没有找到符合条件的商品" in said(page)
    corrected = searched("xigua", AUTO)
    assert "已按“西瓜”搜索" in said(corrected)
    assert "西瓜" in titles(corrected)[0]


@pytest.mark.usefixtures("api_url")
def test_what_was_perhaps_meant_is_offered_and_a_click_searches_for_it() -> None:
    page = searched("zhenpi")
    assert "您是不是要找" in said(page)
    page.button(key="offered_query").click().run()
    assert page.text_input(key="text").value == "真皮"
    assert "您是不是要找" not in said(page)
    assert "真皮" in titles(page)[0]


def shown_prices(page: AppTest) -> list[float]:
    return [float(price) for price in re.findall(r"¥([\d.]+)<", html(page))]


@pytest.mark.usefixtures("api_url")
def test_what_was_understood_is_a_chip_that_a_click_takes_out() -> None:
    page = searched("双肩包 100元以内")
    assert "≤ ¥100" in page.button(key="as_typed_price").label
    assert max(shown_prices(page)) <= 100
    page.button(key="as_typed_price").click().run()
    assert page.query_params["as_typed"] == "price"
    assert "as_typed_price" not in {button.key for button in page.button}
    assert max(shown_prices(page)) > 100
    page.button(key="understand_price").click().run()
    assert "as_typed" not in page.query_params
    assert max(shown_prices(page)) <= 100
    page.button(key="as_typed_price").click().run()
    page.text_input(key="text").set_value("书包 100元以内").run()
    assert "as_typed" not in page.query_params
    assert max(shown_prices(page)) <= 100


def test_every_kind_that_is_understood_has_a_name() -> None:
    assert set(KIND_NAMES) == set(InterpretedKind)


@pytest.mark.usefixtures("api_url")
def test_an_address_keeps_what_was_taken_out() -> None:
    page = AppTest.from_file(ROOT / "web_demo.py", default_timeout=60)
    page.query_params["text"] = "双肩包 不要红色的 150元以内"
    page.query_params["as_typed"] = "price,colour"
    page.run()
    keys = {button.key for button in page.button}
    assert {"understand_price", "as_typed_negation"} <= keys
    assert page.query_params["as_typed"] == "price"


@pytest.mark.usefixtures("api_url")
def test_price_words_alone_are_a_list_without_a_fit() -> None:
    page = searched("150元以内")
    prices = shown_prices(page)
    assert prices
    assert max(prices) <= 150
    assert "符合度" not in html(page)
    assert "相似度" not in html(page)
    assert "为何匹配" not in html(page)


@pytest.mark.usefixtures("api_url")
def test_a_price_that_contradicts_the_filter_is_told() -> None:
    page = searched("双肩包 100元以下")
    page.number_input(key="filter_min_price").set_value(200.0).run()
    assert titles(page) == []
    assert "“100元以下”与价格筛选或其他的词矛盾" in said(page)
    page.button(key="as_typed_price").click().run()
    assert min(shown_prices(page)) >= 200


@pytest.mark.usefixtures("api_url")
def test_filters_chosen_or_typed_narrow_the_results() -> None:
    page = searched("红色", SearchMode.text_to_text)
    assert "生鲜果蔬" in page.multiselect(key="category").options
    page.multiselect(key="category").set_value(["生鲜果蔬"])
    page.number_input(key="filter_min_price").set_value(40.0)
    page.number_input(key="filter_max_price").set_value(50.0).run()
    prices = [float(price) for price in re.findall(r"¥([\d.]+)<", html(page))]
    assert prices
    assert all(40 <= price <= 50 for price in prices)
    page.multiselect(key="brand").set_value(["没有这个品牌"]).run()
    assert titles(page) == []
    assert "没有找到符合条件的商品" in said(page)


@pytest.mark.usefixtures("api_url")
def test_crossed_prices_are_told_and_swapped() -> None:
    page = searched("红色", SearchMode.text_to_text)
    page.number_input(key="filter_min_price").set_value(50.0)
    page.number_input(key="filter_max_price").set_value(40.0).run()
    assert "已对调" in said(page)
    assert titles(page)


@pytest.mark.usefixtures("api_url")
def test_the_next_results_go_on_and_another_query_starts_anew() -> None:
    page = searched("红色", SearchMode.text_to_text)
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
def test_an_unreadable_image_is_explained() -> None:
    page = uploaded(("坏.png", b"no picture", "image/png"), SearchMode.image_to_image)
    assert "不是可识别的图片" in said(page)


def test_a_field_that_the_api_refuses_is_named_in_chinese(service: ApiClient) -> None:
    with pytest.raises(ApiError) as refused:
        service.search({"text": "书" * 513, "filters": {"brand": [""]}})
    lines = error_text(refused.value).splitlines()
    assert lines[0] == "请求有误："
    assert set(lines[2:]) == {"- 搜索词：最多 512 个字符", "- 品牌：不能为空"}


@pytest.mark.usefixtures("api_url")
def test_a_title_cannot_bring_its_own_html(service: ApiClient) -> None:
    title = '<img src=x onerror="alert(1)"> **粗体** :red[红] 怪标题'
    hostile = service.create_product({"title": title}, wait=True)
    try:
        page = searched("怪标题", SearchMode.text_to_text)
        assert "<img src=x" not in html(page)
        assert "&lt;img src=x" in titles(page)[0]
    finally:
        service.delete_product(hostile.product_id)


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

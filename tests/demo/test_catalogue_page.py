"""The catalog page's logic, run without a browser, over the real API."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from decimal import Decimal

import pytest
from streamlit.testing.v1 import AppTest
from streamlit.testing.v1.element_tree import Checkbox

from data_models import IndexStatus, ListSort, ProductListQuery, ProductOut
from product_search.client import ApiClient, ApiError
from product_search.settings import ROOT
from tests.demo.pages import Upload, html, opened, said, titles

CATALOG = "pages/catalogue.py"


@pytest.fixture
def product(service: ApiClient, png: Callable[..., bytes]) -> Iterator[ProductOut]:
    """A product to change, gone again afterwards."""
    fields = {"title": "临时商品 青色水杯", "brand": "试一试", "price": "10.50"}
    created = service.create_product(fields | {"sku": "TMP-1"}, png("teal"), wait=True)
    yield created
    remove(service, [created])


@pytest.fixture
def cups(service: ApiClient) -> Iterator[list[ProductOut]]:
    """Products to change together: two with a price, one without."""
    rows: tuple[dict[str, str], ...] = (
        {"price": "9.99"},
        {"price": "100.10", "category": "餐具"},
        {},
    )
    created = [
        service.create_product({"title": f"批量 水杯 {number}"} | row)
        for number, row in enumerate(rows, start=1)
    ]
    yield list(created)
    remove(service, created)


def remove(service: ApiClient, products: Sequence[ProductOut]) -> None:
    for one in products:
        with suppress(ApiError):  # a test may have deleted it
            service.delete_product(one.product_id)


def linked(product: str) -> AppTest:
    """The page as it comes by an address that names a product."""
    page = AppTest.from_file(ROOT / CATALOG, default_timeout=60)
    page.query_params["product"] = product
    return page.run()


def saved(page: AppTest, number: int = 1) -> AppTest:
    return page.button(key=f"form{number}_save").click().run()


def choice(page: AppTest, name: str | int) -> Checkbox:
    """The box of a product, or of all."""
    (box,) = (one for one in page.checkbox if str(one.key).startswith(f"choose_{name}_"))
    return box


def chosen(cups: Sequence[ProductOut]) -> AppTest:
    """The list of the cups, all chosen, with the dialog open."""
    page = opened(CATALOG)
    page.text_input(key="list_q").set_value("批量 水杯").run()
    choice(page, "all").check().run()
    assert f"已选 **{len(cups)}** 件" in said(page)
    return page.button(key="open_bulk").click().run()


@pytest.mark.usefixtures("api_url")
def test_the_catalog_is_reached_from_the_front_page() -> None:
    page = opened().switch_page("pages/catalogue.py").run()
    assert page.title[0].value == "商品目录"
    assert "共 22 件商品" in said(page)
    assert "<a href=" not in html(page)


@pytest.mark.usefixtures("api_url")
def test_the_catalog_opened_by_its_own_address_leads_to_the_front_page() -> None:
    assert '<a href="./" target="_self">搜索商品</a>' in html(opened(CATALOG))


@pytest.mark.usefixtures("api_url")
def test_pages_can_be_turned_forth_and_back() -> None:
    page = opened(CATALOG)
    first = titles(page)
    assert len(first) == 20
    page.pagination[0].select(2).run()
    assert len(titles(page)) == 2
    page.pagination[0].select(1).run()
    assert titles(page) == first
    page.pagination[0].select(2).run()
    assert len(titles(page)) == 2
    page.text_input(key="list_q").set_value("红色").run()
    assert all("红色" in title for title in titles(page))
    assert titles(page)


@pytest.mark.usefixtures("api_url")
def test_the_list_is_filtered_and_sorted() -> None:
    page = opened(CATALOG)
    page.selectbox(key="list_category").set_value("箱包")
    page.selectbox(key="list_sort_zh").set_value(ListSort.price_asc)
    page.number_input(key="list_min_price").set_value(100.0).run()
    prices = [float(price) for price in re.findall(r"¥([\d.]+)", html(page))]
    assert prices == sorted(prices)
    assert prices[0] >= 100
    page.selectbox(key="list_brand").set_value("晨露筐").run()  # which sells fruit
    assert "没有符合条件的商品" in said(page)
    page.button(key="clear_empty").click().run()
    assert "共 22 件商品" in said(page)


@pytest.mark.usefixtures("api_url")
def test_a_product_is_added_with_all_its_fields(service: ApiClient, apple: Upload) -> None:
    page = opened(CATALOG).button(key="add").click().run()
    page.file_uploader(key="form1_image").set_value(apple).run()
    assert 'class="ps-preview"' in html(page)
    typed = {"title": "手绘苹果明信片", "sku": "TMP-2", "category": "文具", "brand": "拾光"}
    for name, text in (typed | {"price": "9.90"}).items():
        page.text_input(key=f"form1_{name}").set_value(text)
    page.text_area(key="form1_description").set_value("一套六张")
    page.text_area(key="form1_attributes").set_value('{"张数": 6}')
    saved(page)
    assert "已保存“手绘苹果明信片”，现在可以搜索到它。" in said(page)
    [found] = service.list_products(ProductListQuery(q="手绘苹果明信片")).items
    try:
        assert (found.sku, found.category, str(found.price)) == ("TMP-2", "文具", "9.90")
        assert (found.description, found.attributes) == ("一套六张", {"张数": 6})
        assert found.image_url is not None
        assert "手绘苹果明信片" in titles(page)[0]
    finally:
        service.delete_product(found.product_id)


@pytest.mark.usefixtures("api_url", "product")
def test_errors_stand_at_their_fields_and_nothing_typed_is_lost() -> None:
    page = opened(CATALOG).button(key="add").click().run()
    page.file_uploader(key="form1_image").set_value(("坏.png", b"no picture", "image/png"))
    page.text_input(key="form1_brand").set_value("拾光")
    page.text_input(key="form1_price").set_value("12.345")
    page.text_area(key="form1_attributes").set_value("[1]")
    assert "应为 JSON 对象" in said(saved(page))
    page.text_area(key="form1_attributes").set_value('{"a": 1')
    assert "第 1 行第" in said(saved(page))
    page.text_area(key="form1_attributes").set_value('{"a": "\\ud800"}')
    assert "无法保存的数值或字符" in said(saved(page))
    page.text_area(key="form1_attributes").set_value("")
    words = said(saved(page))
    assert "不能为空" in words
    assert "小数最多 2 位" in words
    page.text_input(key="form1_title").set_value("标题")
    page.text_input(key="form1_price").set_value("12.34")
    assert "不是可识别的图片" in said(saved(page))
    page.button(key="form1_drop").click()
    page.text_input(key="form1_sku").set_value("TMP-1")
    words = said(saved(page))
    assert "尚未保存" in words
    assert page.text_input(key="form1_brand").value == "拾光"
    assert page.text_input(key="form1_sku").value == "TMP-1"


@pytest.mark.usefixtures("api_url")
def test_an_edit_changes_what_was_touched_and_nothing_else(
    service: ApiClient, product: ProductOut
) -> None:
    page = opened(CATALOG)
    page.button(key=f"edit_{product.product_id}").click().run()
    assert page.text_input(key="form1_price").value == "10.50"
    page.text_input(key="form1_price").set_value("11")
    page.text_input(key="form1_brand").set_value("")
    assert "现在可以搜索到它" in said(saved(page))
    after = service.get_product(product.product_id)
    assert (str(after.price), after.brand) == ("11.00", None)
    assert (after.title, after.sku) == (product.title, product.sku)
    assert after.image_url is not None


@pytest.mark.usefixtures("api_url")
def test_an_image_is_replaced_and_removed(
    service: ApiClient, product: ProductOut, apple: Upload
) -> None:
    number = product.product_id
    page = opened(CATALOG).button(key=f"edit_{number}").click().run()
    page.file_uploader(key="form1_image").set_value(apple)
    saved(page)
    best = service.search({"top_k": 2}, apple[1]).hits
    assert number in {hit.product.product_id for hit in best}
    page.button(key=f"edit_{number}").click().run()
    page.checkbox(key="form2_remove").check()
    saved(page, 2)
    assert service.get_product(number).image_url is None
    assert "暂无图片" in html(page)


@pytest.mark.usefixtures("api_url")
def test_a_product_that_is_gone_meanwhile_is_told_and_the_words_stay(
    service: ApiClient, product: ProductOut
) -> None:
    page = opened(CATALOG)
    page.button(key=f"edit_{product.product_id}").click().run()
    service.delete_product(product.product_id)
    page.text_input(key="form1_title").set_value("新的标题")
    assert "不存在" in said(saved(page))
    assert page.text_input(key="form1_title").value == "新的标题"
    page.button(key="back").click().run()
    assert "共 22 件商品" in said(page)


@pytest.mark.usefixtures("api_url")
def test_a_product_is_deleted_only_when_that_is_confirmed(
    service: ApiClient, product: ProductOut
) -> None:
    number = product.product_id
    page = opened(CATALOG).button(key=f"delete_{number}").click().run()
    assert "确认删除" in said(page)
    page.button(key="cancel_delete").click().run()
    assert service.get_product(number).title == product.title
    page.button(key=f"delete_{number}").click().run()
    page.button(key="confirm_delete").click().run()
    assert f"已删除“{product.title}”" in said(page)
    assert product.title not in titles(page)
    with pytest.raises(ApiError, match="不存在"):
        service.get_product(number)


@pytest.mark.usefixtures("api_url")
def test_the_list_shows_how_far_the_index_is_and_filters_by_it(product: ProductOut) -> None:
    page = opened(CATALOG)
    assert html(page).count('ps-is-indexed">可搜索<') == len(titles(page)) == 20
    page.text_input(key="list_q").set_value(product.title)
    page.selectbox(key="list_status_zh").set_value(IndexStatus.failed).run()
    assert titles(page) == []
    page.selectbox(key="list_status_zh").set_value(IndexStatus.indexed).run()
    assert titles(page) == [product.title]


# Suggestions and duplicates


@pytest.mark.usefixtures("api_url")
def test_a_suggested_title_is_taken_and_what_was_typed_can_be_had_back(apple: Upload) -> None:
    page = opened(CATALOG).button(key="add").click().run()
    page.text_input(key="form1_title").set_value("我的标题")
    page.text_input(key="form1_price").set_value("5")
    page.file_uploader(key="form1_image").set_value(apple).run()
    page.button(key="form1_suggest").click().run()
    best = page.button(key="form1_title_0")
    assert re.search(r"苹果.* :gray-badge\[\d+%\]$", best.label)
    best.click().run()
    assert str(page.text_input(key="form1_title").value).startswith("红富士苹果")
    assert page.text_input(key="form1_price").value == "5"
    page.button(key="form1_restore").click().run()
    assert page.text_input(key="form1_title").value == "我的标题"
    page.button(key="form1_drop").click().run()
    assert "form1_suggest" not in {button.key for button in page.button}


@pytest.mark.usefixtures("api_url")
def test_titles_are_suggested_for_the_image_that_a_product_has(service: ApiClient) -> None:
    [bag] = service.list_products(ProductListQuery(q="蓝色书包 小学生减负护脊")).items
    page = linked(str(bag.product_id)).button(key="form1_suggest").click().run()
    offered = [button.label for button in page.button if "form1_title_" in str(button.key)]
    assert offered or "没有与这张图片相近的标题" in said(page)
    assert not any(bag.title in label for label in offered)


@pytest.mark.usefixtures("api_url")
def test_a_duplicate_is_told_and_a_click_opens_the_product_that_was_there(
    service: ApiClient, product: ProductOut
) -> None:
    page = opened(CATALOG).button(key="add").click().run()
    page.text_input(key="form1_title").set_value(product.title)
    page.text_input(key="form1_brand").set_value("试一试")
    saved(page)
    assert "目录里已有相同的商品" in said(page)
    page.button(key=f"duplicate_{product.product_id}").click().run()
    assert page.text_input(key="form2_sku").value == "TMP-1"
    assert "目录里已有相同的商品" not in said(page.button(key="back").click().run())
    remove(service, service.list_products(ProductListQuery(q=product.title)).items)


# The address


@pytest.mark.usefixtures("api_url")
def test_an_address_opens_its_product_until_the_form_is_closed(product: ProductOut) -> None:
    page = linked(str(product.product_id))
    assert page.text_input(key="form1_title").value == product.title
    page.button(key="back").click().run()
    assert "product" not in page.query_params
    assert "共 23 件商品" in said(page)
    page.button(key=f"edit_{product.product_id}").click().run()
    assert page.query_params["product"] == str(product.product_id)


@pytest.mark.usefixtures("api_url")
@pytest.mark.parametrize("unknown", ["999999", "书包", "9" * 30])
def test_an_address_of_no_product_is_told_above_the_list(unknown: str) -> None:
    page = linked(unknown)
    assert re.search("不存在|没有编号为", said(page))
    assert "product" not in page.query_params
    assert len(titles(page)) == 20


@pytest.mark.usefixtures("silent_url")
def test_an_address_waits_for_an_api_that_is_down() -> None:
    assert linked("7").query_params["product"] == "7"


@pytest.mark.usefixtures("api_url")
def test_a_half_written_form_is_there_again_after_another_page(apple: Upload) -> None:
    page = opened().switch_page(CATALOG).run().button(key="add").click().run()
    page.file_uploader(key="form1_image").set_value(apple).run()
    page.text_input(key="form1_title").set_value("写到一半").run()
    page.switch_page("pages/system.py").run()
    page.switch_page(CATALOG).run()
    assert page.text_input(key="form1_title").value == "写到一半"
    assert 'class="ps-preview"' in html(page)


# Many at a time


@pytest.mark.usefixtures("api_url")
def test_category_and_price_of_the_chosen_change_as_the_preview_says(
    service: ApiClient, cups: list[ProductOut]
) -> None:
    page = chosen(cups)
    assert page.button(key="bulk1_carry_out").disabled
    page.selectbox(key="bulk1_category").set_value("餐具")
    page.segmented_control(key="bulk1_kind").set_value("percent").run()
    page.number_input(key="bulk1_percent").set_value(-12.5).run()
    assert "将修改 3 件，0 件不变" in said(page)
    assert "<s>¥9.99</s> <b>¥8.74</b>" in html(page)
    assert "<td>餐具</td><td><s>¥100.10</s> <b>¥87.59</b></td>" in html(page)
    assert "<s>未分类</s> <b>餐具</b></td><td>价格未填</td>" in html(page)
    page.button(key="bulk1_carry_out").click().run()
    assert "已修改 3 件商品" in said(page)
    assert "已选" not in said(page)
    after = [service.get_product(cup.product_id) for cup in cups]
    assert [cup.category for cup in after] == ["餐具"] * 3
    assert [cup.price for cup in after] == [Decimal("8.74"), Decimal("87.59"), None]


@pytest.mark.usefixtures("api_url")
def test_a_fixed_price_is_for_all_and_what_has_it_already_is_left_alone(
    service: ApiClient, cups: list[ProductOut]
) -> None:
    page = chosen(cups)
    page.segmented_control(key="bulk1_kind").set_value("fixed").run()
    page.number_input(key="bulk1_fixed").set_value(9.99).run()
    assert "将修改 2 件，1 件不变" in said(page)
    page.button(key="bulk1_carry_out").click().run()
    after = [service.get_product(cup.product_id) for cup in cups]
    assert [str(cup.price) for cup in after] == ["9.99"] * 3
    assert after[0].revision == cups[0].revision


@pytest.mark.usefixtures("api_url")
def test_what_fails_is_told_by_product_and_stays_chosen_and_the_others_are_done(
    service: ApiClient, cups: list[ProductOut]
) -> None:
    page = chosen(cups)
    page.selectbox(key="bulk1_category").set_value("箱包")
    service.delete_product(cups[1].product_id)
    page.run().button(key="bulk1_carry_out").click().run()
    words = said(page)
    assert "已修改 2 件商品" in words
    assert "1 件未能修改" in words
    assert re.search(r"\*\*批量 水杯 2\*\*：.*不存在", words)
    assert "已选 **1** 件" in words
    assert service.get_product(cups[2].product_id).category == "箱包"
    page.button(key="open_bulk").click().run()
    assert "所选的商品都已被删除" in said(page)
    assert "已选" not in said(page)


@pytest.mark.usefixtures("api_url")
def test_the_choice_outlives_a_filter_and_is_cleared_by_a_click(cups: list[ProductOut]) -> None:
    page = chosen(cups).button(key="bulk1_cancel").click().run()
    page.text_input(key="list_q").set_value("").run()
    choice(page, cups[0].product_id).uncheck().run()
    assert "已选 **2** 件" in said(page)
    page.button(key="choose_none").click().run()
    assert "已选" not in said(page)
    assert not any(box.value for box in page.checkbox)

"""The import page's logic, run without a browser, over the real API."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

import pytest
from streamlit.testing.v1 import AppTest

from data_models import ProductListQuery
from product_search.client import ApiClient
from product_search.demo.views.bad_rows import bad_rows_csv
from tests.clock import until
from tests.demo.pages import opened, said

PAGE = "pages/imports.py"
TABLE = (
    "货号,商品名称,售价,备注\nIMP-1,导入试用商品甲,12.50,x\nIMP-2,导入试用商品乙,-1,\nIMP-3,,3,\n"
)


@pytest.fixture
def imported(service: ApiClient) -> Iterator[ApiClient]:
    """The service; what a test imports goes at the end."""
    yield service
    for product in service.list_products(ProductListQuery(q="导入试用商品")).items:
        service.delete_product(product.product_id)


def uploaded(name: str, content: str | bytes, page: AppTest | None = None) -> AppTest:
    raw = content.encode() if isinstance(content, str) else content
    page = page or opened(PAGE)
    return page.file_uploader[0].set_value((name, raw, "text/csv")).run()


def at(page: AppTest, import_id: int) -> AppTest:
    page.query_params["import"] = str(import_id)
    return page.run()


def until_ended(page: AppTest) -> AppTest:
    until(lambda: "导入完成" in said(page.run()), "the end of the import")
    return page


def counts(page: AppTest) -> dict[str, str]:
    return {metric.label: metric.value for metric in page.metric}


@pytest.mark.usefixtures("api_url")
def test_a_file_is_imported_as_mapped_and_its_bad_rows_are_told(imported: ApiClient) -> None:
    page = uploaded("试用.csv", TABLE.encode("gb18030"))
    assert page.selectbox[0].label == "商家编号（必填）"
    assert list(page.dataframe[0].value.columns) == ["商家编号", "标题", "价格"]
    assert "不导入的列：备注" in said(page)
    page.button(key="start_import").click().run()
    until_ended(page)
    assert counts(page) == {"新增": "1", "更新": "0", "未变": "0", "坏行": "2"}
    assert list(page.dataframe[0].value["行号"]) == [3, 4]
    assert "title" in page.dataframe[0].value["原因"][1]
    [found] = imported.list_products(ProductListQuery(q="导入试用商品")).items
    assert (found.sku, found.title, str(found.price)) == ("IMP-1", "导入试用商品甲", "12.50")
    import_id = int(page.query_params["import"])
    again = at(opened(PAGE), import_id)
    # On a busy machine the page may find the API silent first, and says so.
    until(lambda: counts(page) in (counts(again), counts(again.run())), "the import shown again")
    again.button(key="next_file").click().run()
    assert again.file_uploader
    assert "import" not in again.query_params


@pytest.mark.usefixtures("api_url")
def test_a_required_column_that_is_not_there_is_told_before_the_start() -> None:
    page = uploaded("a.csv", "货号,叫法\nA,书包\n")
    assert "请为必填的标题选择列" in said(page)
    assert page.button(key="start_import").disabled
    [title] = [box for box in page.selectbox if box.label == "标题（必填）"]
    title.set_value(1).run()
    assert "请为必填的" not in said(page)
    assert not page.button(key="start_import").disabled


@pytest.mark.usefixtures("api_url")
def test_a_file_that_can_not_be_read_says_why_and_another_may_be_chosen() -> None:
    page = uploaded("a.zip", b"no zip")
    assert "ZIP 打不开" in said(page)
    page = uploaded("a.jsonl", '{"sku": "A", "title": "书包"}', page)
    assert list(page.dataframe[0].value.columns) == ["商家编号", "标题"]
    page.button(key="forget_file").click().run()
    assert page.file_uploader
    assert not page.selectbox


@pytest.mark.usefixtures("api_url")
def test_an_import_that_is_not_there_is_told_with_the_way_on() -> None:
    page = at(opened(PAGE), 999_999)
    assert "没有编号为 999999 的导入" in said(page)
    page.button(key="next_file").click().run()
    assert page.file_uploader


@pytest.mark.usefixtures("api_url")
def test_a_chosen_file_outlives_a_look_at_another_page() -> None:
    page = uploaded("a.csv", "货号,名称\nA,书包\n", opened().switch_page(PAGE).run())
    page.switch_page("web_demo.py").run()
    page.switch_page(PAGE).run()
    assert "a.csv" in said(page)
    assert page.selectbox


@pytest.mark.usefixtures("silent_url")
def test_without_an_api_a_file_can_be_looked_at_but_not_imported() -> None:
    page = uploaded("a.csv", "sku,title\nA,书包\n")
    assert "无法连接 API" in said(page)
    assert page.dataframe
    assert page.button(key="start_import").disabled


@pytest.mark.usefixtures("api_url")
def test_an_import_that_waits_is_cancelled_once_that_is_confirmed(service: ApiClient) -> None:
    bad = b"IMP-%d,\n"  # no titles: nothing is written
    rows = b"".join(bad % number for number in range(200_000))
    first = service.start_import("a.csv", b"sku,title\n" + rows).import_id
    second = service.start_import("b.csv", "sku,title\nIMP-9,书\n".encode()).import_id
    page = at(opened(PAGE), second)
    page.button(key="cancel_import").click().run()
    page.button(key="keep_importing").click().run()
    assert service.get_import(second).state == "queued"
    page.button(key="cancel_import").click().run()
    assert "确认取消这次导入" in said(page)
    page.button(key="confirm_cancel").click().run()
    assert "导入已取消" in said(page.run())
    assert service.get_import(second).state == "cancelled"
    service.cancel_import(first)
    assert service.get_import(first).state == "cancelled"


@pytest.mark.usefixtures("api_url")
def test_a_reason_that_may_be_a_formula_is_text_in_the_download(imported: ApiClient) -> None:
    content = b'{"sku": "A", "title": "x", "=1+1": 1}\n{"sku": "B"}\n'
    import_id = imported.start_import("a.jsonl", content).import_id
    until(lambda: imported.get_import(import_id).state == "done", "the end of the import")
    written = bad_rows_csv(imported, import_id).decode("utf-8-sig")
    assert [row[1][:5] for row in csv.reader(io.StringIO(written))][1:] == ["'=1+1", "title"]

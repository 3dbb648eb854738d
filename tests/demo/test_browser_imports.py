"""A real browser imports a file over the real API, and reads what was left out."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from data_models import ProductListQuery
from product_search.client import ApiClient
from tests.servers import running_api, running_pages

ROWS = 300
BAD = {10, 50, 100, 200, 299}  # lines


@pytest.fixture(scope="module")
def empty_api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiClient]:
    """A catalog of its own: so many products would be in the other tests' way."""
    with running_api(tmp_path_factory.mktemp("imports")) as (url, _):
        client = ApiClient(url)
        yield client
        client.close()


@pytest.fixture(scope="module")
def imports_url(browser: Browser, empty_api: ApiClient) -> Iterator[str]:
    assert browser.is_connected()
    with running_pages(empty_api.base_url) as url:
        yield f"{url}/imports"


def table(prefix: str) -> bytes:
    """As Excel writes it in China: 300 products, of which five have a price that is none."""
    lines = ["货号;品名;售价;内部备注"]
    for line in range(2, ROWS + 2):
        price = "面议" if line in BAD else f"{line}.50"
        lines.append(f"{prefix}-{line};{prefix} 号货架的第 {line} 件商品;{price};勿动")
    return "\r\n".join(lines).encode("gb18030")


def test_a_table_is_mapped_imported_and_its_bad_rows_are_downloaded(
    page: Page, imports_url: str, empty_api: ApiClient, tmp_path: Path
) -> None:
    prefix = f"W{page.viewport_size['width']}" if page.viewport_size else ""
    page.goto(imports_url)
    (tmp_path / "货架.csv").write_bytes(table(prefix))
    page.locator("input[type=file]").set_input_files(tmp_path / "货架.csv")
    expect(page.get_by_text(f"例如：{prefix}-2")).to_be_visible()
    expect(page.get_by_text("不导入的列：内部备注")).to_be_visible()
    page.get_by_role("button", name="开始导入").click()
    expect(page.get_by_text("有 5 个坏行没有导入")).to_be_visible()
    expect(page.get_by_test_id("stMetric").filter(has_text="新增")).to_contain_text("295")
    with page.expect_download() as download:
        page.get_by_role("button", name="下载坏行").click()
    with Path(download.value.path()).open(encoding="utf-8-sig", newline="") as stream:
        bad = list(csv.DictReader(stream))
    assert {int(row["行号"]) for row in bad} == BAD
    assert all(row["原因"].startswith("price：") for row in bad)
    assert empty_api.list_products(ProductListQuery(q=prefix, page_size=1)).total == ROWS - len(BAD)
    page.reload()
    expect(page.get_by_text("有 5 个坏行没有导入")).to_be_visible()
    page.get_by_role("button", name="导入另一个文件").click()
    expect(page.locator("input[type=file]")).to_be_attached()
    expect(page).not_to_have_url(re.compile("import="))

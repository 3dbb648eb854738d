"""The matching page's logic: verdicts, mistakes at their places, and the audit."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from streamlit.testing.v1 import AppTest

from data_models import AuditQuery, ProductOut
from product_search.client import ApiClient
from tests.demo.pages import Upload, followed, html, opened, said, titles

PAGE = "pages/matching.py"


@pytest.fixture
def odd_product(service: ApiClient, sample_image: Callable[[str], bytes]) -> Iterator[ProductOut]:
    """A product whose image is of something else."""
    image = sample_image("1f34e.webp")
    product = service.create_product({"title": "静音无线鼠标 <黑色>"}, image, wait=True)
    yield product
    service.delete_product(product.product_id)


def viewed(view: str) -> AppTest:
    page = opened(PAGE)
    page.segmented_control(key="match_view").set_value(view)
    return page.run()


@pytest.mark.usefixtures("api_url")
def test_an_image_is_compared_with_each_line_the_best_first(apple: Upload) -> None:
    page = viewed("titles")
    assert "放入一张图片" in said(page)
    page.text_area(key="match_titles").set_value("蓝色书包 小学生\n\n  红富士苹果 脆甜 \n").run()
    assert "放入一张图片" in said(page)
    page.file_uploader(key="titles_upload_0").set_value([apple]).run()
    assert titles(page) == ["红富士苹果 脆甜", "蓝色书包 小学生"]
    good, bad = html(page).split("<li>")[1:]
    assert "图文相符" in good
    assert "图文不符" in bad
    page.button(key="titles_remove_0").click().run()
    assert titles(page) == []
    assert "蓝色书包" in str(page.text_area(key="match_titles").value)


@pytest.mark.usefixtures("api_url")
def test_a_title_that_can_not_be_compared_is_told_by_its_line(apple: Upload) -> None:
    page = viewed("titles")
    page.text_area(key="match_titles").set_value("红苹果\n" + "长" * 513).run()
    page.file_uploader(key="titles_upload_0").set_value([apple]).run()
    assert "512" in html(page)
    assert titles(page) == ["长" * 513]
    page.text_area(key="match_titles").set_value("\n".join(f"苹果 {one}" for one in range(65)))
    page.run()
    assert "64" in page.error[0].value


@pytest.mark.usefixtures("api_url")
def test_a_title_is_compared_with_uploads_and_products(apple: Upload) -> None:
    page = viewed("pictures")
    page.text_input(key="match_title").set_value("红富士苹果").run()
    page.segmented_control(key="pictures_source").set_value("catalogue").run()
    page.text_input(key="pictures_words").set_value("书包").run()
    next(one for one in page.button if one.label == "选用").click().run()
    page.segmented_control(key="pictures_source").set_value("upload").run()
    page.file_uploader(key="pictures_upload_0").set_value([apple]).run()
    best, second = html(page).split('role="article"')[1:]
    assert "苹果.webp" in best
    assert "图文相符" in best
    assert "书包" in second
    assert "图文不符" in second


@pytest.mark.usefixtures("api_url")
def test_what_is_no_image_is_told_at_its_place(apple: Upload) -> None:
    page = viewed("pictures")
    page.text_input(key="match_title").set_value("红富士苹果").run()
    broken = ("坏<b>.png", b"no picture", "image/png")
    page.file_uploader(key="pictures_upload_0").set_value([apple, broken]).run()
    good, bad = html(page).split('role="article"')[1:]
    assert "ps-wrong" not in good
    assert "不是可识别的图片" in bad
    assert "坏&lt;b&gt;.png" in bad
    page.button(key="pictures_remove_1").click().run()
    assert "图文相符" in html(page)


@pytest.mark.usefixtures("api_url")
def test_the_audit_tells_the_worst_first(service: ApiClient, odd_product: ProductOut) -> None:
    page = viewed("audit")
    page.button(key="audit").click().run()
    followed(lambda: service.get_audit(AuditQuery()).newest)
    page.run()
    assert "最近一次" in said(page)
    assert titles(page)[0] == "静音无线鼠标 &lt;黑色&gt;"
    assert "图文不符" in html(page)
    assert f"/product/{odd_product.product_id}/image?size=128" in html(page)
    assert len(titles(page)) == 20
    page.button(key="next").click().run()
    assert 0 < len(titles(page)) < 20
    page.button(key="previous").click().run()
    assert len(titles(page)) == 20


@pytest.mark.usefixtures("silent_url")
def test_a_silent_api_is_told() -> None:
    assert "无法连接 API" in said(opened(PAGE))

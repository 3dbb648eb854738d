"""The system page's logic, run without a browser, over the real API and over one that is ill."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from data_models import ProductListQuery
from product_search.client import ApiClient
from product_search.schemas import examples
from tests.clock import until
from tests.demo.drifting import make_stale
from tests.demo.pages import html, opened, said

PAGE = "pages/system.py"
UNAVAILABLE = {"code": "database_unavailable", "message": "数据库暂时不可用，请稍后重试"}


@pytest.mark.usefixtures("api_url")
def test_drift_is_found_told_in_plain_words_and_repaired(
    service: ApiClient, data_dir: Path
) -> None:
    product = service.list_products(ProductListQuery(page_size=1)).items[0]
    make_stale(data_dir, product.product_id)
    page = opened(PAGE)
    page.button(key="check").click().run()
    until(lambda: "还有 1 处不一致" in said(page.run()), "the walk")
    assert "过时的向量 × 1" in html(page)
    assert "商品改过，搜索仍按旧内容" in html(page)
    assert page.dataframe[0].value["对象"][0] == str(product.product_id)
    page.button(key="repair").click().run()
    until(
        lambda: "找到的 1 处不一致都已安排修复" in said(page.run()), "找到的 1 处不一致都已安排修复"
    )
    assert "已修复" in html(page)
    page.button(key="check").click().run()
    until(lambda: "一致，没有找到问题" in said(page.run()), "the last walk")
    assert "核对并修复</span>" in html(page)


class IllApi(BaseHTTPRequestHandler):
    """A service whose vector store and Kafka are down, and whose database fails now and then."""

    def do_GET(self) -> None:
        health = examples.HEALTH | {
            "status": "degraded",
            "reasons": ["向量库：没有响应", "数据文件夹：磁盘已满"],
            "warnings": ["谁都能修改、删除商品"],
            "vector_store": "down",
            "kafka": "down",
            "encoders": examples.HEALTH["encoders"] | {"hint": "运行 manage reindex 换用它"},
            "outbox": {"pending": 3, "retrying": 2, "failed": 1},
        }
        answers = {"/health": (200, health), "/system/runs": (200, examples.RUNS)}
        status, body = answers.get(self.path.partition("?")[0], (503, UNAVAILABLE))
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_arguments: object) -> None:
        """Quiet."""


@pytest.fixture
def ill_url(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), IllApi) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setenv("PRODUCT_SEARCH_API_URL", url)
        yield url
        server.shutdown()
        thread.join()


@pytest.mark.usefixtures("ill_url")
def test_what_is_down_is_said_and_what_answers_is_shown() -> None:
    page = opened(PAGE)
    words = said(page)
    assert words.count(":red-badge[没有响应]") == 2
    assert "Kafka" in words
    assert "数据文件夹：磁盘已满" in words
    assert "谁都能修改、删除商品" in words
    assert "运行 manage reindex 换用它" in words
    assert "待处理 3 · 重试中 2 · 失败 1" in words
    assert UNAVAILABLE["message"] in words
    assert "导入 · products.zip" in html(page)
    assert 'aria-valuenow="42"' in html(page)
    assert "5,000 / 12,000 行" in html(page)


@pytest.mark.usefixtures("silent_url")
def test_without_an_api_nothing_is_claimed() -> None:
    page = opened(PAGE)
    assert "无法连接 API" in said(page)
    assert "正常" not in said(page)

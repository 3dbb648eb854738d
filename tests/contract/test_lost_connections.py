"""Connections to MySQL that are lost: done once more before COMMIT, never after it was sent."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine, create_engine, func, make_url, select, text
from sqlalchemy.orm import Session

from main import create_app
from orm_models import Database, OutboxEvent, Product
from product_search.bulk.importer import import_file
from product_search.catalog.products import KEEP_IMAGE, Catalog
from product_search.catalog.rows import insert_product
from product_search.errors import DatabaseUnavailable, OutcomeUnknown
from product_search.images.store import ImageStore
from product_search.settings import Settings
from tests.contract.conftest import empty_tables, mysql_url
from tests.contract.cutting_proxy import CuttingProxy, cutting_proxy

INSERT = "INSERT INTO product"
EVENT = "INSERT INTO outbox_event"
SELECT = "SELECT product"


@pytest.fixture
def direct() -> Iterator[Engine]:
    """Straight to the server, its tables empty."""
    database = Database(mysql_url())
    empty_tables(database)
    database.close()
    engine = create_engine(mysql_url())
    yield engine
    engine.dispose()


@pytest.fixture
def proxy(direct: Engine) -> Iterator[CuttingProxy]:
    with cutting_proxy(direct.url.host or "127.0.0.1", direct.url.port or 3306) as proxy:
        yield proxy


@pytest.fixture
def proxied_url(proxy: CuttingProxy) -> str:
    url = make_url(mysql_url()).set(host="127.0.0.1", port=proxy.port)
    url = url.update_query_dict({"ssl_disabled": "true"})  # the proxy reads what goes through
    return url.render_as_string(hide_password=False)


@pytest.fixture
def catalog(proxied_url: str, tmp_path: Path) -> Iterator[Catalog]:
    database = Database(proxied_url)
    database.ping()  # a connection that is then found lost
    yield Catalog(database, ImageStore(tmp_path / "images"))
    database.close()


def saved(direct: Engine) -> tuple[int, int]:
    """How many products and events the server has."""
    with Session(direct) as session:
        products = session.scalar(select(func.count()).select_from(Product))
        events = session.scalar(select(func.count()).select_from(OutboxEvent))
    return products or 0, events or 0


def test_a_read_that_is_lost_is_done_once_more(catalog: Catalog, proxy: CuttingProxy) -> None:
    made = catalog.create({"title": "书包"}, None)
    for cut in (proxy.cut_before, proxy.cut_after):
        before = proxy.sent(SELECT)
        cut(SELECT)
        assert catalog.get(made.product_id).milvus_id == made.milvus_id
        assert proxy.sent(SELECT) == before + 2


@pytest.mark.parametrize("statement", [INSERT, EVENT])
@pytest.mark.parametrize("when", ["cut_before", "cut_after"])
def test_a_creation_that_is_lost_before_its_commit_makes_one_product(
    catalog: Catalog, proxy: CuttingProxy, direct: Engine, statement: str, when: str
) -> None:
    getattr(proxy, when)(statement)
    made = catalog.create({"title": "书包", "sku": "A"}, None)
    assert proxy.sent(INSERT) == 2
    assert proxy.sent("COMMIT") == 1
    assert saved(direct) == (1, 1)
    assert catalog.get(made.product_id).milvus_id == made.milvus_id


def test_a_change_and_a_deletion_that_are_lost_before_their_commit_happen_once(
    catalog: Catalog, proxy: CuttingProxy, direct: Engine
) -> None:
    made = catalog.create({"title": "书包"}, None)
    proxy.cut_after("UPDATE product")
    changed = catalog.update(made.product_id, {"price": Decimal("2.50")}, KEEP_IMAGE)
    assert (changed.revision, changed.price) == (2, Decimal("2.50"))
    assert saved(direct) == (1, 2)
    proxy.cut_after("DELETE FROM product")
    catalog.delete(made.product_id)
    assert saved(direct) == (0, 3)


def test_a_batch_of_an_import_that_is_lost_is_counted_once(
    catalog: Catalog, proxy: CuttingProxy, direct: Engine, tmp_path: Path
) -> None:
    rows = "".join(f"S-{number},标题{number}\n" for number in range(20))
    (tmp_path / "a.csv").write_text(f"sku,title\n{rows}", "utf-8")
    proxy.cut_after(EVENT)
    report = import_file(catalog, tmp_path / "a.csv", tmp_path)
    assert (report.counts.created, report.bad_rows) == (20, [])
    assert saved(direct) == (20, 20)


@pytest.mark.parametrize(("when", "products"), [("cut_before", 0), ("cut_after", 1)])
def test_after_commit_was_sent_the_outcome_is_unknown_and_nothing_is_done_again(
    catalog: Catalog, proxy: CuttingProxy, direct: Engine, when: str, products: int
) -> None:
    getattr(proxy, when)("COMMIT")
    with pytest.raises(OutcomeUnknown) as unknown:
        catalog.create({"title": "书包"}, None)
    assert "可能已保存" in unknown.value.message
    assert proxy.sent(INSERT) == proxy.sent("COMMIT") == 1
    assert saved(direct) == (products, products)
    catalog.create({"title": "下一个"}, None)
    assert saved(direct) == (products + 1, products + 1)


def test_a_connection_that_is_lost_twice_is_told_and_nothing_is_saved(
    catalog: Catalog, proxy: CuttingProxy, direct: Engine
) -> None:
    proxy.cut_before(EVENT, times=2)
    with pytest.raises(DatabaseUnavailable):
        catalog.create({"title": "书包"}, None)
    assert proxy.sent(INSERT) == 2
    assert proxy.sent("COMMIT") == 0
    assert saved(direct) == (0, 0)


def test_a_connection_that_the_server_kills_is_replaced(catalog: Catalog, direct: Engine) -> None:
    runs: list[int] = []

    def work(session: Session) -> None:
        runs.append(session.scalar(text("SELECT CONNECTION_ID()")) or 0)
        insert_product(session, {"title": "书包"})
        if len(runs) == 1:
            with direct.connect() as other:
                other.execute(text(f"KILL {runs[0]}"))
        session.scalar(select(func.count()).select_from(Product))

    catalog.database.write(work)
    assert len(set(runs)) == 2
    assert saved(direct) == (1, 1)


def test_a_server_that_says_it_shuts_down_is_tried_once_more(
    catalog: Catalog, direct: Engine
) -> None:
    runs: list[int] = []

    def work(session: Session) -> None:
        runs.append(session.scalar(text("SELECT CONNECTION_ID()")) or 0)
        insert_product(session, {"title": "书包"})
        if len(runs) == 1:
            session.execute(text("SIGNAL SQLSTATE '08S01' SET MYSQL_ERRNO = 1053"))

    catalog.database.write(work)
    assert len(set(runs)) == 2
    assert saved(direct) == (1, 1)


def test_connections_that_were_lost_while_idle_are_not_noticed(
    catalog: Catalog, proxy: CuttingProxy, direct: Engine
) -> None:
    ready = threading.Barrier(4)

    def hold(session: Session) -> None:
        session.scalar(select(Product.id))
        ready.wait()

    threads = [threading.Thread(target=catalog.database.read, args=(hold,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    proxy.cut_all()
    catalog.create({"title": "书包"}, None)
    proxy.cut_all()
    assert saved(direct) == (1, 1)
    assert catalog.database.read(lambda session: session.scalar(select(Product.title))) == "书包"


def test_a_connection_that_is_given_back_has_no_transaction(
    catalog: Catalog, direct: Engine
) -> None:
    def fail(session: Session) -> None:
        insert_product(session, {"title": "书包"})
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        catalog.database.write(fail)
    made = catalog.create({"title": "苹果"}, None)
    assert saved(direct) == (1, 1)  # else this commit would have been that one's too
    with direct.begin() as other:
        other.execute(text("UPDATE product SET title = '雨伞'"))
    assert catalog.get(made.product_id).title == "雨伞"  # else the first read's snapshot


def test_a_server_that_is_gone_is_told_as_unavailable(
    catalog: Catalog, proxy: CuttingProxy
) -> None:
    proxy.close()
    with pytest.raises(DatabaseUnavailable):
        catalog.create({"title": "书包"}, None)
    with pytest.raises(DatabaseUnavailable):
        catalog.get(1)


def test_a_server_that_says_nothing_is_given_up_where_the_url_bounds_the_wait(
    proxy: CuttingProxy, proxied_url: str, direct: Engine, tmp_path: Path
) -> None:
    database = Database(f"{proxied_url}&read_timeout=1")
    catalog = Catalog(database, ImageStore(tmp_path / "images"))
    proxy.hang_at(INSERT)
    catalog.create({"title": "一"}, None)
    proxy.hang_at(INSERT, times=2)
    with pytest.raises(DatabaseUnavailable):
        catalog.create({"title": "二"}, None)
    proxy.hang_at("COMMIT")
    with pytest.raises(OutcomeUnknown):
        catalog.create({"title": "三"}, None)
    assert saved(direct) == (1, 1)
    database.close()


def test_a_client_is_told_what_became_of_its_write(
    proxy: CuttingProxy, proxied_url: str, direct: Engine, open_settings: Callable[[], Settings]
) -> None:
    settings = open_settings().model_copy(update={"database_url": proxied_url})
    with TestClient(create_app(settings)) as client:
        proxy.cut_after(EVENT)
        answer = client.post("/product", json={"title": "一"})
        assert (answer.status_code, answer.json()["product_id"]) == (201, 2)  # 1 was rolled back
        proxy.cut_after("COMMIT", within=INSERT)
        answer = client.post("/product", json={"title": "二"})
        assert (answer.status_code, answer.json()["code"]) == (503, "outcome_unknown")
        assert "retry-after" not in answer.headers
        titles = [item["title"] for item in client.get("/product/list").json()["items"]]
        assert titles == ["二", "一"]
        proxy.cut_before(INSERT, times=2)
        answer = client.post("/product", json={"title": "三"})
        assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable")
        assert int(answer.headers["retry-after"]) > 0
        assert saved(direct)[0] == 2
        proxy.cut_before(SELECT, times=1_000)
        answer = client.post("/product?wait=true", json={"title": "四"})
        assert (answer.status_code, answer.json()["index_status"]) == (201, "pending")
        assert saved(direct)[0] == 3

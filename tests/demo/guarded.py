"""A service that requires keys, for the tests of the pages: its address, and keys to it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from orm_models import Database
from product_search.access.keys import create_key, id_of, revoke_key
from product_search.client import ApiClient
from product_search.context import Scope
from tests.conftest import SAMPLE
from tests.servers import running_api

TITLES = ("红富士苹果 新鲜水果", "蓝色书包 小学生")


@dataclass(frozen=True)
class Guarded:
    """A running API that lets nobody in without a key."""

    url: str
    database: Database

    def key(self, name: str, scope: Scope, *origins: str) -> str:
        """A new key; with origins one that may be published."""
        return self.database.write(create_key, name, scope, origins).text

    def revoke(self, key: str) -> None:
        """The key lets nobody in any more, within a second."""
        self.database.write(revoke_key, id_of(key) or "")


@contextmanager
def running_guarded(data_dir: Path) -> Iterator[Guarded]:
    """The service over a catalog of two products, both indexed, of which one has an image."""
    with running_api(data_dir, PRODUCT_SEARCH_REQUIRE_KEYS="true") as (url, _process):
        database = Database(f"sqlite:///{data_dir / 'catalog.sqlite3'}")
        service = Guarded(url, database)
        client = ApiClient(url, key=service.key("测试", Scope.write))
        with closing(client):
            picture = (SAMPLE / "images" / "1f34e.webp").read_bytes()
            fields = {"category": "生鲜果蔬", "brand": "果园"}
            client.create_product({"title": TITLES[0]} | fields, picture, wait=True)
            client.create_product({"title": TITLES[1]}, wait=True)
        yield service
        database.engine.dispose()

"""The active collection, asked for by many searches at once."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait

import pytest
from sqlalchemy.orm import Session

from orm_models import VectorCollection
from product_search.indexing import collections
from product_search.indexing.collections import LiveCollections, OpenCollection, Role, fetch_live
from tests.contract.doctor_shop import (
    Shop,
    database as database,
    milvus as milvus,
    shop as shop,
)


def test_searches_that_come_before_the_first_reading_wait_for_it(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = shop.collections
    fresh = LiveCollections(there.database, there.vector_database, there.encoders)
    others: list[Future[OpenCollection]] = []

    def read_slowly(session: Session) -> Mapping[Role, VectorCollection]:
        if not others:
            others.extend(searches.submit(fresh.active) for _ in range(4))
            wait(others, timeout=0.2)  # what does not wait for this reading has failed by then
        return fetch_live(session)

    monkeypatch.setattr(collections, "fetch_live", read_slowly)
    with ThreadPoolExecutor(4) as searches:
        first = fresh.active()
        assert [other.result() for other in others] == [first] * 4

"""Changes of one product that meet, and events that come twice, late and out of order."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import httpx
from sqlalchemy import select

from orm_models import Product
from tests.faults.conftest import SEED
from tests.faults.ledger import Content, Tracked
from tests.faults.load import Load, title
from tests.faults.places import Place
from tests.faults.stray import stray_events
from tests.sessions import reading, writing

PRODUCTS = 8
PATCHES = 6


def told(answer: httpx.Response) -> str:
    """What a change was told: only these three may be."""
    return {200: "changed", 204: "deleted", 404: "gone"}[answer.status_code]


def test_a_delete_that_races_updates_ends_the_product_everywhere(place: Place) -> None:
    place.start_all()
    chance = random.Random(SEED)
    with (
        httpx.Client(base_url=place.addresses[0], timeout=60) as http,
        ThreadPoolExecutor(PATCHES + 1) as pool,
    ):
        for number in range(PRODUCTS):
            made = http.post("/product", json={"title": "书包", "sku": f"R-{number}"}).json()
            path = f"/product/{made['product_id']}"
            titles = [title(chance) for _ in range(PATCHES)]
            changes = [partial(http.patch, path, json={"title": text}) for text in titles]
            dies = number % 2 == 0
            if dies:
                changes.insert(chance.randrange(PATCHES), partial(http.delete, path))
            answers = [told(one.result()) for one in [pool.submit(c) for c in changes]]
            assert answers.count("deleted") == dies
            assert dies or answers.count("changed") == PATCHES
            left: set[Content | None] = {None} if dies else {Content(text) for text in titles}
            place.ledger.add(Tracked(f"R-{number}", left))
    assert place.drift() == []
    with reading(place.database) as session:
        revisions = session.scalars(select(Product.revision).where(Product.sku.like("R-%")))
        assert set(revisions) == {1 + PATCHES}  # each change that was told is one


def test_events_that_come_twice_late_and_out_of_order_do_no_harm(place: Place) -> None:
    chance = random.Random(SEED)
    with Load(place.addresses, place.ledger, chance) as load:
        place.start_all()
        load.wait(40)
        for _ in range(5):
            load.wait(10)
            with writing(place.database) as session:
                session.add_all(chance.sample(stray_events(place), 40))
    assert place.drift() == []

"""Audits and maps of the catalog on every database: bounded, cut off, without Milvus."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from sqlalchemy import select

from data_models import AuditPage, AuditQuery, CatalogMap, MapComputing, MapField, VectorField
from orm_models import Run, RunProblem
from product_search.access.addresses import OPEN
from product_search.catalog.products import KEEP_IMAGE
from product_search.errors import (
    IN_THE_LOG,
    RunInProgress,
    StartError,
    VectorStoreUnavailable,
)
from product_search.insights import audit
from product_search.insights.audit import Auditor
from product_search.insights.catalog_map import MapMaker, Maps
from product_search.runs import exclusive, queue
from product_search.runs.executor import LEASE, RunContext, RunInterrupted, execute
from product_search.runs.queue import RunClaim, RunKind, RunState
from product_search.search.calibration import Calibration
from tests.contract.doctor_shop import (
    Shop,
    database as database,
    lose_entity,
    milvus as milvus,
    shop as shop,
    stocked as stocked,
)
from tests.sessions import reading, writing

TITLES: MapField = VectorField.text_bge
IMAGES: MapField = VectorField.image_clip


def context(shop: Shop, claimed: RunClaim) -> RunContext:
    return RunContext(shop.database, claimed, threading.Event())


def auditor(shop: Shop, page: int = 100) -> Auditor:
    return Auditor(
        shop.database,
        shop.milvus,
        lambda name: Calibration(fingerprint=name),
        page_size=page,
    )


def audited(shop: Shop, page: int = 100) -> AuditPage:
    """What a whole audit finds."""
    claimed = exclusive.start(shop.database, RunKind.audit, {}, LEASE)
    assert execute(context(shop, claimed), auditor(shop, page).handle) is RunState.done
    return shop.database.read(audit.fetch_page, AuditQuery(limit=100), OPEN)


def map_maker(shop: Shop, shown: int = 100, page: int = 100) -> MapMaker:
    return MapMaker(shop.database, shop.milvus, shown, page_size=page)


def asked(shop: Shop, field: MapField = TITLES) -> CatalogMap | MapComputing:
    return Maps(shop.database, lambda: None).get(field)


def draw(shop: Shop, maker: MapMaker) -> RunState:
    """Carry out the run that waits."""
    with writing(shop.database) as session:
        claimed = queue.claim(session, [RunKind.map], LEASE)
    assert claimed is not None
    return execute(context(shop, claimed), maker.handle)


def drawn(shop: Shop, maker: MapMaker, field: MapField = TITLES) -> CatalogMap:
    """A map of the catalog as it is."""
    found = asked(shop, field)
    if isinstance(found, MapComputing) or found.stale:
        assert draw(shop, maker) is RunState.done
        found = asked(shop, field)
    assert isinstance(found, CatalogMap)
    assert not found.stale
    return found


def test_an_audit_page_by_page_finds_what_one_at_once_does(stocked: Shop) -> None:
    lose_entity(stocked)
    stocked.create("还没有索引")
    whole = audited(stocked)
    assert whole.last is not None
    assert (whole.last.checked, whole.last.skipped, whole.last.mismatched) == (4, 2, None)
    assert [one.product_id for one in audited(stocked, page=2).items] == [
        one.product_id for one in whole.items
    ]
    with reading(stocked.database) as session:
        kept = session.scalars(select(RunProblem.run_id).distinct()).all()
    assert len(kept) == 1  # the last one's


def test_an_audit_keeps_the_worst_of_all_pages(
    stocked: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = audited(stocked).items
    monkeypatch.setattr(audit, "MAX_FINDINGS", 3)
    assert audited(stocked, page=2).items == whole[:3]


def test_an_audit_that_is_stopped_begins_anew_and_there_is_one_at_a_time(stocked: Shop) -> None:
    claimed = exclusive.start(stocked.database, RunKind.audit, {}, LEASE)
    with pytest.raises(RunInProgress):
        audit.enqueue(stocked.database)
    stopped = context(stocked, claimed)
    stopped.stopping.set()
    with pytest.raises(RunInterrupted):
        execute(stopped, auditor(stocked).handle)
    found = audited(stocked)
    assert found.last is not None
    assert found.last.checked == 5


def test_till_an_audit_ends_the_last_is_shown_and_nothing_is_noted_twice(stocked: Shop) -> None:
    before = audited(stocked)
    claimed = exclusive.start(stocked.database, RunKind.audit, {}, LEASE)
    auditor(stocked).handle(context(stocked, claimed))  # and there the process dies
    found = stocked.database.read(audit.fetch_page, AuditQuery(), OPEN)
    assert (found.last, found.items) == (before.last, before.items)
    assert execute(context(stocked, claimed), auditor(stocked).handle) is RunState.done
    found = stocked.database.read(audit.fetch_page, AuditQuery(), OPEN)
    assert found.last is not None
    assert (found.last.run_id, found.items) == (claimed.id, before.items)


def test_an_audit_that_fails_names_no_file(stocked: Shop) -> None:
    def unreadable(_fingerprint: str) -> Calibration:
        raise StartError("校准文件 /secret/calibration.json 无法读取")

    claimed = exclusive.start(stocked.database, RunKind.audit, {}, LEASE)
    broken = Auditor(stocked.database, stocked.milvus, unreadable)
    assert execute(context(stocked, claimed), broken.handle) is RunState.failed
    newest = stocked.database.read(audit.fetch_page, AuditQuery(), OPEN).newest
    assert newest is not None
    assert newest.error == IN_THE_LOG


def test_products_without_any_collection_are_skipped(stocked: Shop) -> None:
    stocked.milvus.drop_collection(stocked.entities.name)
    found = audited(stocked)
    assert found.last is not None
    assert (found.last.checked, found.last.skipped) == (0, 5)


def test_a_map_waits_until_milvus_has_its_collection(stocked: Shop) -> None:
    stocked.milvus.drop_collection(stocked.entities.name)
    assert isinstance(asked(stocked), MapComputing)
    with pytest.raises(VectorStoreUnavailable):
        draw(stocked, map_maker(stocked))
    assert isinstance(asked(stocked), MapComputing)
    stocked.start()
    assert draw(stocked, map_maker(stocked)) is RunState.done
    found = asked(stocked)
    assert isinstance(found, CatalogMap)


def test_till_a_map_is_drawn_the_last_is_shown(stocked: Shop) -> None:
    before = drawn(stocked, map_maker(stocked))
    stocked.create("雨伞")
    stocked.index()
    asked(stocked)
    with writing(stocked.database) as session:
        claimed = queue.claim(session, [RunKind.map], LEASE)
    assert claimed is not None
    map_maker(stocked).handle(context(stocked, claimed))  # and there the process dies
    assert asked(stocked) == before.model_copy(update={"stale": True})
    assert execute(context(stocked, claimed), map_maker(stocked).handle) is RunState.done
    assert drawn(stocked, map_maker(stocked)).total == 8


def test_a_map_that_could_not_be_drawn_says_why(stocked: Shop) -> None:
    assert isinstance(asked(stocked), MapComputing)
    with writing(stocked.database) as session:
        claimed = queue.claim(session, [RunKind.map], LEASE)
        assert claimed is not None
        queue.finish(session, claimed, RunState.failed, "坏了")
    told = asked(stocked)
    assert isinstance(told, MapComputing)
    assert told.error == "坏了"


def test_a_map_page_by_page_is_that_of_all_at_once(stocked: Shop) -> None:
    whole = drawn(stocked, map_maker(stocked))
    assert [point.product_id for point in whole.points] == stocked.ids
    stocked.catalog.update(stocked.ids[0], {"brand": "拾光"}, KEEP_IMAGE)
    stocked.index()
    again = drawn(stocked, map_maker(stocked, page=2))
    assert again.computed_at > whole.computed_at
    for before, after in zip(whole.points, again.points, strict=True):
        assert (after.x, after.y) == pytest.approx((before.x, before.y), abs=1e-4)
    places = np.array([(point.x, point.y) for point in whole.points])
    assert places.mean(axis=0) == pytest.approx((0, 0), abs=1e-4)


def test_of_too_many_products_an_even_sample_is_on_the_map(stocked: Shop) -> None:
    found = drawn(stocked, map_maker(stocked, shown=3, page=2))
    assert (found.total, found.shown) == (7, 3)
    assert [point.product_id for point in found.points] == stocked.ids[::3]


def test_each_field_has_its_map_and_only_the_last_is_kept(stocked: Shop) -> None:
    maker = map_maker(stocked)
    titles, pictures = drawn(stocked, maker), drawn(stocked, maker, IMAGES)
    assert (titles.total, pictures.total) == (7, 5)
    stocked.create("雨伞")
    stocked.index()
    assert drawn(stocked, maker).total == 8
    old = asked(stocked, IMAGES)
    assert isinstance(old, CatalogMap)
    assert (old.stale, old.points) == (True, pictures.points)
    assert draw(stocked, maker) is RunState.done
    with reading(stocked.database) as session:
        assert len(session.scalars(select(Run).where(Run.kind == RunKind.map)).all()) == 2


@pytest.mark.parametrize("change", ["index", "title", "delete"])
def test_a_map_is_stale_after_every_change(stocked: Shop, change: str) -> None:
    waiting = stocked.create("雨伞")
    drawn(stocked, map_maker(stocked))
    if change == "index":
        stocked.index()
    elif change == "title":
        stocked.catalog.update(waiting.product_id, {"title": "伞"}, KEEP_IMAGE)
    else:
        stocked.catalog.delete(waiting.product_id)
    found = asked(stocked)
    assert isinstance(found, CatalogMap)
    assert found.stale


def test_a_map_that_waits_is_queued_once(stocked: Shop) -> None:
    woken: list[int] = []
    maps = Maps(stocked.database, lambda: woken.append(1))
    for field in (TITLES, TITLES, IMAGES):
        assert isinstance(maps.get(field), MapComputing)
    assert woken == [1]
    with pytest.raises(RunInProgress):
        exclusive.enqueue(stocked.database, RunKind.map, {"field": IMAGES})

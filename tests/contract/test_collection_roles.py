"""Roles of collections and the queue of a filling, on every database."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import delete, select

from data_models import IndexStatus
from orm_models import Database, OutboxEvent, Product, Run, VectorCollection
from product_search.catalog.products import KEEP_IMAGE, Catalog
from product_search.images.store import ImageStore
from product_search.indexing import collections, reindex, startup
from product_search.indexing.collections import Role
from product_search.indexing.reindex import ReindexRefused
from product_search.outbox import catalog_events, counts, events
from product_search.outbox.events import Claim, ClaimPolicy
from product_search.runs import queue
from product_search.runs.queue import RunKind, RunState
from tests.sessions import reading, writing

LEASE = timedelta(seconds=60)
POLICY = ClaimPolicy(LEASE)


@pytest.fixture
def catalog(database: Database, tmp_path: Path) -> Catalog:
    return Catalog(database, ImageStore(tmp_path / "images"))


def add(database: Database, **roles: Role) -> None:
    with writing(database) as session:
        for name, role in roles.items():
            session.add(VectorCollection(name=name, role=role, encoder_fingerprint=name))


def roles(database: Database) -> dict[str, str]:
    with reading(database) as session:
        return {row.name: row.role for row in session.scalars(select(VectorCollection))}


def claimed(database: Database) -> Claim:
    return database.write(partial(events.claim, limit=100, policy=POLICY))


def settled(database: Database) -> None:
    """All that waits is indexed."""
    works = claimed(database).items
    with writing(database) as session:
        events.mark_done(session, works)
        for product in session.scalars(select(Product)):
            product.index_status = IndexStatus.indexed


def test_a_rollback_changes_two_roles_at_once_and_back(database: Database) -> None:
    add(database, old=Role.previous, new=Role.active)
    for active in ("old", "new"):
        assert database.write(reindex.roll_back).name == active
        assert roles(database)[active] == Role.active
        assert sorted(roles(database).values()) == [Role.active, Role.previous]
    with reading(database) as session:
        assert set(collections.fetch_live(session)) == {Role.active, Role.previous}


def test_what_is_dropped_is_no_longer_live_and_a_run_is_queued_for_it(database: Database) -> None:
    add(database, old=Role.previous, new=Role.active)
    run_id = database.write(reindex.drop_previous)
    assert roles(database) == {"old": Role.retired, "new": Role.active}
    with reading(database) as session:
        assert list(collections.fetch_live(session)) == [Role.active]
        assert [row.name for row in collections.fetch_retired(session)] == ["old"]
        run = queue.find_latest(session, RunKind.reindex)
        assert run is not None
        assert (run.id, run.options) == (run_id, {"drop": True})


@pytest.mark.parametrize("ask", [reindex.roll_back, reindex.drop_previous, reindex.cancel])
def test_what_there_is_not_can_not_be_rolled_back_to_dropped_or_cancelled(
    database: Database, ask: object
) -> None:
    add(database, new=Role.active)
    assert callable(ask)
    with pytest.raises(ReindexRefused):
        database.write(ask)
    assert roles(database) == {"new": Role.active}


def test_an_active_collection_is_given_up_only_where_nothing_can_take_its_place(
    database: Database,
) -> None:
    with pytest.raises(ReindexRefused):
        database.write(reindex.retire_active)
    add(database, old=Role.previous, new=Role.active)
    with pytest.raises(ReindexRefused, match="--rollback"):
        database.write(reindex.retire_active)
    with writing(database) as session:
        session.execute(delete(VectorCollection).where(VectorCollection.name == "old"))
    assert database.write(reindex.retire_active).name == "new"
    assert roles(database) == {"new": Role.retired}


def test_a_collection_that_was_made_active_meanwhile_is_not_retired_for_the_previous(
    database: Database,
) -> None:
    add(database, lost=Role.active, good=Role.previous)
    as_read = {Role.active: "lost", Role.previous: "good"}
    database.write(reindex.roll_back)
    assert not database.write(partial(startup._restore_previous, names=as_read))
    assert roles(database) == {"good": Role.active, "lost": Role.previous}
    database.write(reindex.roll_back)
    assert database.write(partial(startup._restore_previous, names=as_read))
    assert roles(database) == {"good": Role.active, "lost": Role.retired}


def test_a_reindexing_needs_an_active_collection_and_no_previous(database: Database) -> None:
    start = partial(reindex.start, encoder="starter", rate=None)
    with pytest.raises(ReindexRefused):
        database.write(start)
    add(database, old=Role.previous, new=Role.active)
    with pytest.raises(ReindexRefused, match="--drop-old"):
        database.write(start)
    assert database.read(reindex.find_unfinished) is None


def test_one_reindexing_at_a_time_and_the_one_that_nobody_holds_is_gone_on_with(
    database: Database,
) -> None:
    add(database, new=Role.active)
    start = partial(reindex.start, encoder="starter", rate=5)
    run_id = database.write(start)
    assert database.write(start) == run_id
    with pytest.raises(ReindexRefused, match="--cancel"):
        database.write(partial(reindex.start, encoder="chinese-clip", rate=None))
    held = database.write(partial(queue.claim, kinds=[RunKind.reindex], lease=LEASE))
    assert held is not None
    with pytest.raises(ReindexRefused):
        database.write(start)
    database.write(partial(queue.release, claim=held))
    assert database.write(start) == run_id
    database.write(reindex.cancel)
    with reading(database) as session:
        ended = session.get_one(Run, run_id)
        assert (ended.state, ended.options) == (
            RunState.cancelled,
            {"encoder": "starter", "rate": 5},
        )


def test_products_are_queued_for_a_filling_by_id_and_their_pauses_end(
    catalog: Catalog, database: Database
) -> None:
    made = [catalog.create({"title": "书包"}, None).product_id for _ in range(5)]
    failing = claimed(database).items[:1]
    with writing(database) as session:
        events.mark_failed(session, dict.fromkeys(failing, "坏"), POLICY)
        events.release_all(session)
    assert database.write(partial(catalog_events.record_fill, after=0, limit=3)) == made[:3]
    assert database.write(partial(catalog_events.record_fill, after=made[2], limit=3)) == made[3:]
    assert database.write(partial(catalog_events.record_fill, after=made[4], limit=3)) == []
    left = partial(counts.count_fills, limit=100)
    assert database.read(left) == 5
    works = claimed(database).items
    assert {work.product_id: work.attempts for work in works} == dict.fromkeys(made, 0)
    assert not any(work.only_fill for work in works)  # each has its first event too
    with writing(database) as session:
        events.mark_done(session, works)
    assert database.read(left) == 0


def test_a_claim_says_where_nothing_but_a_filling_is_asked_for(
    catalog: Catalog, database: Database
) -> None:
    plain, changed, gone = [catalog.create({"title": "书包"}, None).product_id for _ in range(3)]
    settled(database)
    database.write(partial(catalog_events.record_fill, after=0, limit=10))
    catalog.update(changed, {"title": "改"}, KEEP_IMAGE)
    catalog.delete(gone)
    claim = claimed(database)
    asked = {work.product_id: work.only_fill for work in claim.items}
    assert asked == {plain: True, changed: False, gone: False}
    assert database.read(partial(counts.count_fills, limit=10)) == 3
    assert database.read(partial(counts.count_fills, limit=10, unclaimed=True)) == 0


def test_a_product_that_fails_is_queued_by_one_event_and_holds_up_no_filling(
    catalog: Catalog, database: Database
) -> None:
    product_id = catalog.create({"title": "书包"}, None).product_id
    database.write(partial(catalog_events.record_fill, after=0, limit=10))
    claim = claimed(database)
    with writing(database) as session:
        assert events.lock_held(session, claim, claim.items) == {product_id}
        events.mark_failed(session, dict.fromkeys(claim.items, "坏"), POLICY)
    with reading(database) as session:
        (event,) = session.scalars(select(OutboxEvent))
        assert (event.operation, event.attempts) == ("upsert", 1)
        assert counts.count_fills(session, 10) == 0


def test_deletions_stay_queued_when_all_products_are_queued_anew(
    catalog: Catalog, database: Database
) -> None:
    kept, gone = [catalog.create({"title": "书包"}, None).product_id for _ in range(2)]
    catalog.delete(gone)
    with writing(database) as session:
        catalog_events.record_rebuild(session)
    assert {work.product_id for work in claimed(database).items} == {kept, gone}

"""The doctor's runs on every database: images, collections, bounds, cut off, one at a time."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy import func, select

from data_models import DriftKind
from orm_models import Run, RunProblem, VectorCollection
from product_search.drift import reports
from product_search.drift.reports import DriftOptions
from product_search.errors import (
    AppError,
    RunInProgress,
    StorageUnavailable,
    VectorStoreUnavailable,
)
from product_search.images.store import content_hash
from product_search.indexing.collections import Role
from product_search.outbox import counts
from product_search.runs import queue
from product_search.runs.executor import LEASE, RunContext, RunInterrupted, execute
from product_search.runs.queue import RunKind, RunState
from tests.contract.doctor_shop import (
    IMAGE,
    OTHER,
    UNUSED,
    Shop,
    database as database,
    found,
    leave_entity,
    lose_entity,
    milvus as milvus,
    shop as shop,
    stocked as stocked,
)
from tests.contract.entities import DIMS
from tests.sessions import reading, writing
from tests.unit.pictures import age, file_of


def test_images_that_no_product_names_are_deleted_once_they_are_old(stocked: Shop) -> None:
    old, young = stocked.images.save(OTHER), stocked.images.save(IMAGE + b"more")
    named = content_hash(IMAGE)
    stocked.images.thumbnail(old, 64)
    for name in (old, named):
        age(file_of(stocked.images, name))
    walked = stocked.walk()
    assert found(walked) == {DriftKind.orphaned_picture: 1}
    assert (walked.examples[0].subject, walked.pictures) == (old, 3)
    repaired = stocked.walk(repair=True)
    assert (repaired.repaired[DriftKind.orphaned_picture], repaired.left) == (1, 0)
    assert stocked.images.find_missing((old, young, named)) == {old}
    assert not list(file_of(stocked.images, old).parents[2].rglob(f"*{old}*"))  # nor its thumbnail
    assert found(stocked.walk()) == {}


def test_an_image_that_is_being_used_again_is_not_deleted(stocked: Shop) -> None:
    name = stocked.images.save(OTHER)
    age(file_of(stocked.images, name))
    kept = stocked.catalog.keep_image(OTHER)  # its row has not committed yet
    assert kept["image_hash"] == name
    assert found(stocked.walk(repair=True)) == {}
    assert not stocked.images.find_missing([name])


def test_a_database_without_any_image_deletes_none(shop: Shop) -> None:
    name = shop.images.save(OTHER)
    age(file_of(shop.images, name))
    walked = shop.walk(repair=True)
    assert (found(walked), walked.left) == ({DriftKind.orphaned_picture: 1}, 1)
    assert not shop.images.find_missing([name])


def test_a_lost_image_is_told_and_left(stocked: Shop) -> None:
    name = content_hash(IMAGE)
    file_of(stocked.images, name).unlink()
    walked = stocked.walk(repair=True)
    assert (found(walked), walked.left) == ({DriftKind.missing_picture: 5}, 5)
    assert stocked.database.read(counts.fetch_counts).pending == 0


def test_what_can_not_be_repaired_is_left_beside_what_can(stocked: Shop) -> None:
    lose_entity(stocked)
    leave_entity(stocked)
    name = content_hash(IMAGE)
    file_of(stocked.images, name).unlink()
    walked = stocked.walk(repair=True)
    kinds = {DriftKind.missing: 1, DriftKind.orphaned: 1, DriftKind.missing_picture: 5}
    assert (found(walked), walked.left) == (kinds, 5)
    assert walked.repaired[DriftKind.missing_picture] == 0


def test_a_collection_that_nobody_uses_is_told_and_dropped_when_named(stocked: Shop) -> None:
    for name in (UNUSED, "product_catalogue"):  # the other one is another application's
        stocked.milvus.ensure_collection(name, DIMS)
    walked = stocked.walk(repair=True)
    assert (found(walked), walked.left) == ({DriftKind.wrong_encoder: 1}, 1)
    assert walked.examples[0].subject == UNUSED
    active = stocked.entities.name
    for name in (active, "product_catalogue", "product_v1_ffffffffffff"):
        assert UNUSED in (stocked.refusal(drop=[UNUSED, name]) or "")
    assert stocked.milvus.has_collection(UNUSED)
    assert stocked.walk(drop=[UNUSED]).left == 0
    assert sorted(stocked.milvus.list_collections()) == ["product_catalogue", active]
    assert found(stocked.walk()) == {}


@pytest.mark.parametrize(
    ("role", "drifted"),
    [(Role.previous, {DriftKind.missing: 7}), (Role.filling, {}), (Role.retired, {})],
)
def test_collections_that_are_kept_in_step_are_compared_and_no_others(
    stocked: Shop, role: Role, drifted: dict[DriftKind, int]
) -> None:
    stocked.milvus.ensure_collection(UNUSED, DIMS)
    row = VectorCollection(name=UNUSED, role=role, encoder_fingerprint=UNUSED[-12:])
    with writing(stocked.database) as session:
        session.add(row)
    walked = stocked.walk(page=3)
    assert found(walked) == drifted
    assert (walked.products, walked.entities) == (7, 7)


def test_without_its_collection_every_product_is_missing_and_none_is_queued(
    stocked: Shop,
) -> None:
    stocked.milvus.drop_collection(stocked.entities.name)
    walked = stocked.walk(repair=True)
    assert (found(walked), walked.left) == ({DriftKind.missing: 7}, 7)
    assert "重启服务会新建" in walked.examples[0].reason
    assert stocked.database.read(counts.fetch_counts).pending == 0
    stocked.start()  # once more, which makes it
    stocked.index()
    assert found(stocked.walk()) == {}


def test_a_collection_that_changes_under_the_walk_ends_it(stocked: Shop) -> None:
    def drop() -> None:
        stocked.milvus.drop_collection(stocked.entities.name)

    stocked.entities.shared["scan"] = drop
    claimed = stocked.begin()
    context = RunContext(stocked.database, claimed, threading.Event())
    assert execute(context, stocked.doctor(page=2).handle) is RunState.failed


@pytest.mark.parametrize("away", [VectorStoreUnavailable, StorageUnavailable])
def test_a_store_that_goes_away_ends_the_walk_with_its_reason(
    stocked: Shop, away: type[AppError]
) -> None:
    def fail() -> None:
        raise away("不在了")

    stocked.entities.shared["scan"] = fail
    assert stocked.refusal() == "不在了"


def test_a_walk_that_was_cut_off_goes_on_at_the_key_that_it_had_reached(stocked: Shop) -> None:
    for place in (0, 6):
        stocked.entities.delete([stocked.key(place)])
    claimed = stocked.begin(repair=True)
    stopping = threading.Event()
    stocked.entities.shared["scan"] = stopping.set
    with pytest.raises(RunInterrupted):
        execute(RunContext(stocked.database, claimed, stopping), stocked.doctor(page=2).handle)
    with reading(stocked.database) as session:
        saved = session.get_one(Run, claimed.id)
    assert (saved.progress["products"], saved.progress["found"]) == (2, {"missing": 1})
    with writing(stocked.database) as session:
        again = queue.claim(session, [RunKind.doctor], LEASE, run_id=claimed.id)
    assert again is not None
    context = RunContext(stocked.database, again, threading.Event())
    assert execute(context, stocked.doctor(page=2).handle) is RunState.done
    with reading(stocked.database) as session:
        walked = reports.fetch_run(session, claimed.id)
    assert (walked.products, walked.entities) == (7, 5)
    assert (found(walked), walked.left) == ({DriftKind.missing: 2}, 0)
    assert [one.subject for one in walked.examples] == [str(stocked.ids[0]), str(stocked.ids[6])]
    assert stocked.database.read(counts.fetch_counts).pending == 2


def test_repairs_that_the_outbox_has_no_room_for_are_left_to_the_next_run(stocked: Shop) -> None:
    lose_entity(stocked)
    stocked.gate.is_full = True
    walked = stocked.walk(repair=True)
    assert (found(walked), walked.left) == ({DriftKind.missing: 1}, 1)
    assert stocked.database.read(counts.fetch_counts).pending == 0
    stocked.gate.is_full = False
    assert stocked.walk(repair=True).left == 0


def test_examples_are_bounded_and_those_of_earlier_runs_forgotten(
    stocked: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reports, "EXAMPLES", 3)
    keys = [stocked.key(place) for place in range(7)]
    stocked.entities.delete(keys)
    for _ in range(2):
        walked = stocked.walk(page=2)
        assert found(walked) == {DriftKind.missing: 7}
        assert [one.subject for one in walked.examples] == [
            str(product_id) for product_id in stocked.ids[:3]
        ]
    with reading(stocked.database) as session:
        assert session.scalar(select(func.count()).select_from(RunProblem)) == 3


def test_one_walk_at_a_time(shop: Shop) -> None:
    queued = reports.enqueue(shop.database, DriftOptions())
    with pytest.raises(RunInProgress):
        reports.enqueue(shop.database, DriftOptions(repair=True))
    held = shop.begin()  # nobody had taken the other: its process has ended
    with reading(shop.database) as session:
        assert session.get_one(Run, queued.run_id).state == "cancelled"
    with pytest.raises(RunInProgress):
        shop.begin()
    with pytest.raises(RunInProgress):
        reports.enqueue(shop.database, DriftOptions())
    with writing(shop.database) as session:
        queue.finish(session, held, RunState.done)
        assert reports.fetch_report(session).newest is not None
    reports.enqueue(shop.database, DriftOptions())


def test_walks_that_are_queued_at_the_same_time_are_one(shop: Shop) -> None:
    refused: list[str] = []
    ready = threading.Barrier(4)

    def try_one() -> None:
        ready.wait()
        try:
            reports.enqueue(shop.database, DriftOptions())
        except RunInProgress as error:
            refused.append(error.code)

    threads = [threading.Thread(target=try_one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert refused == ["run_in_progress"] * 3

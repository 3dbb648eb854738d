"""Claims on every database: no product twice, leases, pauses, and writers in between."""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from data_models import IndexStatus, OutboxCounts
from orm_models import Database, OutboxEvent
from product_search.catalog.products import KEEP_IMAGE, Catalog
from product_search.context import within_request
from product_search.errors import ProductNotFound
from product_search.images.store import ImageStore
from product_search.outbox import counts as outbox_state, events
from product_search.outbox.events import Claim, ClaimItem, ClaimPolicy
from tests.contract.clock import Clock
from tests.sessions import reading, writing

LEASE = timedelta(seconds=60)
POLICY = ClaimPolicy(LEASE, max_attempts=3, first_pause=timedelta(seconds=2))
WORKERS = 4


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def catalog(database: Database, tmp_path: Path) -> Catalog:
    return Catalog(database, ImageStore(tmp_path / "images"))


def create(catalog: Catalog, count: int = 1) -> list[int]:
    return [catalog.create({"title": "书包"}, None).product_id for _ in range(count)]


def change(catalog: Catalog, product_id: int, title: str) -> None:
    catalog.update(product_id, {"title": title}, KEEP_IMAGE)


def claimed(database: Database, clock: Clock, limit: int = 100) -> Claim:
    return database.write(partial(events.claim, limit=limit, policy=POLICY, clock=clock))


def ids(claim: Claim) -> list[int]:
    return [work.product_id for work in claim.items]


def fail(database: Database, clock: Clock, claim: Claim) -> None:
    reasons = dict.fromkeys(claim.items, "图片已损坏")
    database.write(partial(events.mark_failed, reasons=reasons, policy=POLICY, clock=clock))


def is_due(database: Database, clock: Clock) -> bool:
    return database.read(partial(events.is_due, policy=POLICY, clock=clock))


def counts(database: Database) -> OutboxCounts:
    return database.read(outbox_state.fetch_counts)


def claim_until_none(url: str, started: str) -> list[int]:
    """What one process gets of the outbox, four products at a time."""
    database = Database(url)
    Path(started).touch()
    found: list[int] = []
    while works := database.write(partial(events.claim, limit=4, policy=POLICY)).items:
        found += [work.product_id for work in works]
    database.close()
    return found


def test_processes_that_claim_at_the_same_time_never_get_the_same(
    catalog: Catalog, database: Database, tmp_path: Path
) -> None:
    made = create(catalog, 100)
    for product_id in made[::3]:
        change(catalog, product_id, "新")
    url = database.engine.url.render_as_string(hide_password=False)
    with ProcessPoolExecutor(WORKERS, multiprocessing.get_context("forkserver")) as pool:
        started = [str(tmp_path / str(number)) for number in range(WORKERS)]
        parts = list(pool.map(claim_until_none, [url] * WORKERS, started))
    assert sorted(product_id for part in parts for product_id in part) == made


@pytest.mark.parametrize("database", ["mysql"], indirect=True)  # SQLite has one writer at a time
def test_a_claim_does_not_wait_for_another_that_is_not_yet_committed(
    catalog: Catalog, database: Database, clock: Clock
) -> None:
    made = create(catalog, 6)
    with writing(database) as first:
        theirs = events.claim(first, 3, POLICY, clock)
        ours = claimed(database, clock)
        assert (ids(theirs), ids(ours)) == (made[:3], made[3:])
    assert not is_due(database, clock)


@pytest.mark.parametrize("database", ["mysql"], indirect=True)  # SQLite has one writer at a time
def test_a_write_does_not_wait_for_a_claim_that_is_not_yet_committed(
    catalog: Catalog, database: Database, clock: Clock
) -> None:
    first, second = create(catalog, 2)
    with writing(database) as session:
        assert ids(events.claim(session, 10, POLICY, clock)) == [first, second]
        change(catalog, first, "改动")
        create(catalog)
        catalog.delete(second)
    assert counts(database).pending == 5


def test_those_that_waited_longest_are_claimed_first(
    catalog: Catalog, database: Database, clock: Clock
) -> None:
    made = create(catalog, 5)
    change(catalog, made[0], "新")
    assert [ids(claimed(database, clock, 2)) for _ in range(4)] == [
        made[:2],
        made[2:4],
        made[4:],
        [],
    ]


def test_a_product_is_claimed_as_a_whole_and_once_at_a_time(
    catalog: Catalog, database: Database, clock: Clock
) -> None:
    (product_id,) = create(catalog)
    change(catalog, product_id, "二")
    change(catalog, product_id, "三")
    claim = claimed(database, clock)
    assert ids(claim) == [product_id]
    change(catalog, product_id, "四")
    assert ids(claimed(database, clock)) == []
    assert database.write(partial(events.lock_held, claim=claim, items=claim.items)) == {product_id}
    database.write(partial(events.mark_done, items=claim.items))
    with reading(database) as session:
        (left,) = session.scalars(select(OutboxEvent))
        assert left.revision == 4
    assert ids(claimed(database, clock)) == [product_id]


def test_a_claim_whose_lease_has_ended_is_anothers_to_take(
    catalog: Catalog, database: Database, clock: Clock
) -> None:
    made = create(catalog, 2)
    late = claimed(database, clock)
    clock.pass_by(59)
    assert not is_due(database, clock)
    assert ids(claimed(database, clock)) == []
    clock.pass_by(2)
    assert is_due(database, clock)
    new = claimed(database, clock, 1)
    assert ids(new) == made[:1]
    renewed = database.write(partial(events.renew, claim=late, lease=LEASE, clock=clock))
    assert renewed == {made[1]}  # which nobody took in between
    assert database.write(partial(events.lock_held, claim=late, items=late.items)) == {made[1]}
    database.write(partial(events.release, claim=late))
    assert ids(claimed(database, clock)) == made[1:]
    assert database.write(partial(events.lock_held, claim=new, items=new.items)) == {made[0]}


def test_a_lease_that_is_renewed_goes_on(
    catalog: Catalog, database: Database, clock: Clock
) -> None:
    made = create(catalog)
    claim = claimed(database, clock)
    for _ in range(5):
        clock.pass_by(40)
        renew = partial(events.renew, claim=claim, lease=LEASE, clock=clock)
        assert database.write(renew) == set(made)
        assert ids(claimed(database, clock)) == []


@pytest.mark.parametrize("back_s", [300, 3600])
def test_a_claim_begun_before_the_clock_was_set_back_ends_with_it(
    catalog: Catalog, database: Database, clock: Clock, back_s: float
) -> None:
    held, failing = create(catalog, 2)
    lost = claimed(database, clock)
    fail(database, clock, replace(lost, items=lost.items[1:]))
    clock.pass_by(-back_s)
    assert is_due(database, clock)
    new = claimed(database, clock)
    assert ids(new) == [held, failing]
    assert ids(claimed(database, clock)) == []
    assert database.write(partial(events.lock_held, claim=lost, items=lost.items)) == set()


def test_every_claim_ends_where_the_only_worker_starts_anew(
    catalog: Catalog, database: Database, clock: Clock
) -> None:
    made = create(catalog, 3)
    paused = claimed(database, clock, 1)
    fail(database, clock, paused)
    claimed(database, clock)
    database.write(events.release_all)
    assert ids(claimed(database, clock)) == made[1:]  # the pause goes on


def test_a_product_is_tried_again_after_ever_longer_pauses_and_given_up_in_the_end(
    catalog: Catalog, database: Database, clock: Clock
) -> None:
    product_id, other = create(catalog, 2)
    first = claimed(database, clock, 1)
    for attempt, pause in enumerate((2, 4), start=1):
        fail(database, clock, first)
        assert counts(database) == OutboxCounts(pending=2, retrying=1, failed=0)
        clock.pass_by(pause - 0.1)
        assert ids(claimed(database, clock)) == ([other] if attempt == 1 else [])
        clock.pass_by(0.1)
        first = claimed(database, clock)
        assert [(work.product_id, work.attempts) for work in first.items] == [(product_id, attempt)]
    fail(database, clock, first)
    shown = catalog.get(product_id)
    assert (shown.index_status, shown.index_error) == (IndexStatus.failed, "图片已损坏")
    assert counts(database) == OutboxCounts(pending=1, retrying=0, failed=1)


def test_a_change_ends_the_pause_and_counts_anew(
    catalog: Catalog, database: Database, clock: Clock
) -> None:
    (product_id,) = create(catalog)
    fail(database, clock, claimed(database, clock))
    assert not is_due(database, clock)
    change(catalog, product_id, "修好了")
    claim = claimed(database, clock)
    assert [(work.product_id, work.attempts) for work in claim.items] == [(product_id, 0)]
    fail(database, clock, claim)
    catalog.delete(product_id)
    assert ids(claimed(database, clock)) == [product_id]


def test_a_change_during_the_attempt_that_fails_is_tried_at_once(
    catalog: Catalog, database: Database, clock: Clock
) -> None:
    (product_id,) = create(catalog)
    claim = claimed(database, clock)
    change(catalog, product_id, "修好了")
    fail(database, clock, claim)
    (work,) = claimed(database, clock).items
    assert (work.product_id, work.attempts) == (product_id, 0)
    assert catalog.get(product_id).index_status is IndexStatus.pending


@pytest.mark.parametrize("one", [True, False])
def test_what_was_given_up_is_queued_again(
    catalog: Catalog, database: Database, clock: Clock, one: bool
) -> None:
    made = create(catalog, 3)
    for _ in range(POLICY.max_attempts):
        fail(database, clock, claimed(database, clock, 2))
        clock.pass_by(100)
    assert counts(database).failed == 2
    assert catalog.retry(made[2]) == 0
    with pytest.raises(ProductNotFound):
        catalog.retry(made[2] + 1)
    assert catalog.retry(made[0] if one else None) == (1 if one else 2)
    shown = catalog.get(made[0])
    assert (shown.index_status, shown.index_error) == (IndexStatus.pending, None)
    queued = {work.product_id: work.attempts for work in claimed(database, clock).items}
    assert queued == dict.fromkeys([made[0], made[2]] if one else made, 0)


def test_a_product_that_was_lost_while_it_was_written_is_queued_again(
    catalog: Catalog, database: Database, clock: Clock
) -> None:
    kept, gone = create(catalog, 2)
    works = claimed(database, clock).items
    catalog.delete(gone)
    with writing(database) as session:
        events.mark_done(session, works)
    while done := claimed(database, clock).items:
        database.write(partial(events.mark_done, items=done))
    database.write(partial(events.enqueue_again, items=works))
    again = claimed(database, clock)
    assert ids(again) == [kept, gone]
    assert [work.milvus_id for work in again.items] == [work.milvus_id for work in works]


def in_threads(*tasks: Callable[[], None]) -> None:
    errors: list[BaseException] = []

    def run(task: Callable[[], None]) -> None:
        try:
            task()
        except BaseException as error:  # noqa: BLE001 (told by the main thread)
            errors.append(error)

    threads = [threading.Thread(target=run, args=(task,)) for task in tasks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_writers_and_workers_at_the_same_time_never_wait_in_a_circle(
    catalog: Catalog, database: Database
) -> None:
    """Nor do two workers ever hold the same product."""
    made = create(catalog, 8)
    writing_ended = threading.Event()
    busy: set[int] = set()
    twice: list[int] = []

    def write(offset: int) -> None:
        for number in range(12):
            change(catalog, made[(offset + number) % len(made)], f"{offset}-{number}")
            create(catalog)

    def settle(claim: Claim, work: ClaimItem, session: Session) -> None:
        assert events.lock_held(session, claim, [work]) == {work.product_id}
        if work.product_id % 5 == 0 and not work.attempts:
            soon = ClaimPolicy(LEASE, 5, timedelta(milliseconds=1))
            events.mark_failed(session, {work: "再试"}, soon)
        else:
            events.mark_done(session, [work])
        busy.discard(work.product_id)  # before the commit, after which another may take it

    def work() -> None:
        while not writing_ended.is_set() or database.read(outbox_state.count_pending):
            if not database.read(events.is_due, POLICY):
                time.sleep(0.01)
                continue
            claim = database.write(partial(events.claim, limit=3, policy=POLICY))
            twice.extend(busy & set(ids(claim)))
            busy.update(ids(claim))
            for item in claim.items:
                database.write(partial(settle, claim, item))

    def write_all() -> None:
        try:
            in_threads(*(partial(write, 2 * number) for number in range(3)))
        finally:
            writing_ended.set()

    in_threads(write_all, work, work, work)
    assert twice == []
    assert counts(database) == OutboxCounts(pending=0, retrying=0, failed=0)


def asked(claim: Claim) -> list[str | None]:
    return [item.request_id for item in claim.items]


def test_of_changes_that_are_indexed_at_once_the_newest_names_the_request(
    catalog: Catalog, database: Database, clock: Clock
) -> None:
    with within_request("first"):
        (product_id,) = create(catalog)
    with within_request("second"):
        change(catalog, product_id, "新")
    claim = claimed(database, clock)
    assert asked(claim) == ["second"]
    fail(database, clock, claim)  # the first event stands for both from now on
    clock.pass_by(POLICY.longest.total_seconds())
    assert asked(claimed(database, clock)) == ["second"]


def test_what_was_written_outside_of_requests_names_none(
    catalog: Catalog, database: Database, clock: Clock
) -> None:
    create(catalog)
    assert asked(claimed(database, clock)) == [None]

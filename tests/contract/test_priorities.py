"""Which product is indexed next on every database: people's before an import's, and in order."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from orm_models import Database, OutboxEvent, Product
from product_search.catalog.products import KEEP_IMAGE, Catalog
from product_search.catalog.rows import upsert_by_sku
from product_search.images.store import ImageStore
from product_search.outbox import catalog_events, counts, events
from product_search.outbox.events import Claim, ClaimPolicy
from tests.contract.clock import Clock
from tests.sessions import reading, writing

LEASE = timedelta(seconds=60)
POLICY = ClaimPolicy(LEASE)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def catalog(database: Database, tmp_path: Path) -> Catalog:
    return Catalog(database, ImageStore(tmp_path / "images"))


def write(catalog: Catalog, count: int = 1) -> list[int]:
    """What somebody adds, one by one."""
    return [catalog.create({"title": "书包"}, None).product_id for _ in range(count)]


def change(catalog: Catalog, product_id: int) -> None:
    catalog.update(product_id, {"title": "改动"}, KEEP_IMAGE)


def bring_in(database: Database, count: int, title: str = "杯子") -> list[int]:
    """What an import adds, or changes where it was there."""
    rows = [{"sku": f"S-{number}", "title": title} for number in range(count)]
    with writing(database) as session:
        upsert_by_sku(session, rows)
        imported = select(Product.id).where(Product.sku.in_([row["sku"] for row in rows]))
        return list(session.scalars(imported.order_by(Product.id)))


def claimed(database: Database, clock: Clock, limit: int = 100) -> Claim:
    return database.write(partial(events.claim, limit=limit, policy=POLICY, clock=clock))


def ids(claim: Claim) -> list[int]:
    return [item.product_id for item in claim.items]


def done(database: Database, claim: Claim) -> None:
    database.write(partial(events.mark_done, items=claim.items))


def test_what_somebody_writes_is_claimed_before_an_import(
    catalog: Catalog, database: Database, clock: Clock
) -> None:
    imported = bring_in(database, 5)
    written = write(catalog, 2)
    assert ids(claimed(database, clock, 4)) == written + imported[:2]
    assert ids(claimed(database, clock)) == imported[2:]


def test_an_imported_product_that_somebody_changes_comes_first_as_a_whole(
    catalog: Catalog, database: Database, clock: Clock
) -> None:
    imported = bring_in(database, 4)
    change(catalog, imported[2])
    catalog.delete(imported[3])
    claim = claimed(database, clock, 3)
    assert ids(claim) == [*imported[2:], imported[0]]
    done(database, claim)
    assert database.read(counts.count_pending) == 1  # neither is indexed a second time
    assert ids(claimed(database, clock)) == imported[1:2]


def test_an_import_that_changes_what_somebody_has_written_holds_it_up_no_more(
    catalog: Catalog, database: Database, clock: Clock
) -> None:
    imported = bring_in(database, 3)
    done(database, claimed(database, clock))
    change(catalog, imported[1])
    assert bring_in(database, 3, "茶杯") == imported
    claim = claimed(database, clock, 1)
    assert ids(claim) == [imported[1]]
    done(database, claim)
    assert ids(claimed(database, clock)) == [imported[0], imported[2]]


def given_back(database: Database, clock: Clock, claim: Claim) -> None:
    database.write(events.release, claim)


def forgotten(_database: Database, clock: Clock, _claim: Claim) -> None:
    clock.pass_by(LEASE.total_seconds() + 1)


@pytest.mark.parametrize("ended", [given_back, forgotten])
def test_what_somebody_changes_while_it_is_in_hand_comes_first_when_that_ends(
    catalog: Catalog,
    database: Database,
    clock: Clock,
    ended: Callable[[Database, Clock, Claim], None],
) -> None:
    imported = bring_in(database, 4)
    claim = claimed(database, clock, 3)
    change(catalog, imported[1])
    assert ids(claimed(database, clock, 1)) == [imported[3]]
    ended(database, clock, claim)
    assert ids(claimed(database, clock, 1)) == [imported[1]]


def test_what_an_import_changes_after_a_claim_stays_behind_it(
    catalog: Catalog, database: Database, clock: Clock
) -> None:
    """Three events of one product: claimed, the import's, and somebody's, which brings it forward.

    It comes forward although its oldest event is then the import's.
    """
    imported = bring_in(database, 2)
    claim = claimed(database, clock, 2)
    bring_in(database, 2, "茶杯")
    change(catalog, imported[1])
    done(database, claim)
    again = claimed(database, clock, 1)
    assert ids(again) == [imported[1]]
    with reading(database) as session:
        revisions = select(OutboxEvent.revision).where(OutboxEvent.product_id == imported[1])
        assert session.scalars(revisions.order_by(OutboxEvent.id)).all() == [2, 3]


def test_imports_go_on_while_somebody_writes_all_the_time(
    catalog: Catalog, database: Database, clock: Clock
) -> None:
    imported = bring_in(database, 6)
    written = write(catalog, 34)
    first = claimed(database, clock, 16)
    assert ids(first) == written[:14] + imported[:2]
    assert ids(claimed(database, clock, 16)) == written[14:28] + imported[2:4]
    assert ids(claimed(database, clock, 16)) == written[28:] + imported[4:]


@pytest.mark.parametrize(("limit", "of_import"), [(1, 0), (2, 1), (7, 1)])
def test_a_small_claim_has_room_for_what_somebody_writes(
    catalog: Catalog, database: Database, clock: Clock, limit: int, of_import: int
) -> None:
    imported = bring_in(database, 3)
    written = write(catalog, 8)
    expected = written[: limit - of_import] + imported[:of_import]
    assert ids(claimed(database, clock, limit)) == expected


@pytest.mark.parametrize("database", ["mysql"], indirect=True)  # SQLite has one writer at a time
def test_two_claims_at_a_time_share_the_urgent_and_the_others(
    catalog: Catalog, database: Database, clock: Clock
) -> None:
    imported = bring_in(database, 4)
    written = write(catalog, 2)
    with writing(database) as first:
        theirs = events.claim(first, 3, POLICY, clock)
        ours = claimed(database, clock, 3)
        assert (ids(theirs), ids(ours)) == (written + imported[:1], imported[1:])


def _rebuild(session: Session, _made: Iterable[int]) -> None:
    catalog_events.record_rebuild(session)


def _renew(session: Session, _made: Iterable[int]) -> None:
    catalog_events.record_renewal(session)


def _fill(session: Session, _made: Iterable[int]) -> None:
    catalog_events.record_fill(session, after=0, limit=10)


def _repair(session: Session, made: Iterable[int]) -> None:
    drifted = select(Product).where(Product.id.in_(made))
    catalog_events.retry(session, drifted, events.Priority.background)


@pytest.mark.parametrize("record", [_rebuild, _renew, _fill, _repair])
def test_what_a_collection_lacks_waits_behind_what_somebody_writes(
    catalog: Catalog,
    database: Database,
    clock: Clock,
    record: Callable[[Session, Iterable[int]], None],
) -> None:
    imported = bring_in(database, 3)
    done(database, claimed(database, clock))
    (before,) = write(catalog)
    with writing(database) as session:
        record(session, imported)
    (after,) = write(catalog)
    assert ids(claimed(database, clock)) == [before, after, *imported]


def test_entities_without_a_product_wait_behind_what_somebody_writes(
    catalog: Catalog, database: Database, clock: Clock
) -> None:
    with writing(database) as session:
        catalog_events.record_orphans(session, [70, 71])
    (written,) = write(catalog)
    assert ids(claimed(database, clock)) == [written, -70, -71]


@pytest.mark.parametrize("one", [True, False])
def test_one_product_that_is_tried_again_comes_first_and_all_of_them_wait(
    catalog: Catalog, database: Database, clock: Clock, one: bool
) -> None:
    given_up = write(catalog, 2)
    reasons = dict.fromkeys(claimed(database, clock).items, "图片已损坏")
    once = ClaimPolicy(LEASE, max_attempts=1)
    database.write(events.mark_failed, reasons, once, clock)
    imported = bring_in(database, 2)
    catalog.retry(given_up[1] if one else None)
    expected = [given_up[1], *imported] if one else [*imported, *given_up]
    assert ids(claimed(database, clock)) == expected

"""Bulk imports on every database: what is written, and runs that were broken off going on."""

from __future__ import annotations

import threading
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from data_models import ImportCounts, IndexStatus
from orm_models import Database, OutboxEvent, Product, Run
from product_search.bulk.importer import Importer, import_file
from product_search.bulk.sources import open_source
from product_search.catalog.products import Catalog
from product_search.catalog.rows import upsert_by_sku
from product_search.errors import DatabaseUnavailable
from product_search.images.store import ImageStore
from product_search.runs import executor, queue
from product_search.runs.executor import RunContext, RunExecutor, RunFailed, RunInterrupted, execute
from product_search.runs.queue import RunKind, RunLost, RunState
from tests.hostile import HOSTILE
from tests.sessions import reading, writing

ROWS = 60
HALF = 25
OnProgress = Callable[[ImportCounts], object]


@pytest.fixture
def catalog(database: Database, tmp_path: Path) -> Catalog:
    return Catalog(database, ImageStore(tmp_path / "images"))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Row 10 is bad; rows of the second half name a sku of the first, and the bad row's."""
    lines = [f"S-{number},标题{number},1" for number in range(ROWS)]
    lines[10] = "S-10,坏,-1"
    lines[40] = "S-3,又一次,1"
    lines[41] = "S-10,这次是好的,1"
    path = tmp_path / "rows.csv"
    path.write_text("sku,title,price\n" + "".join(f"{line}\n" for line in lines), "utf-8")
    return path


EXPECTED = ImportCounts(rows_total=ROWS, rows_done=ROWS, created=ROWS - 2, bad=2)


def products(database: Database) -> list[Product]:
    with reading(database) as session:
        return list(session.scalars(select(Product).order_by(Product.id)))


def events(database: Database) -> list[tuple[int, int, int]]:
    with reading(database) as session:
        columns = select(OutboxEvent.product_id, OutboxEvent.milvus_id, OutboxEvent.revision)
        found = session.execute(columns.order_by(OutboxEvent.id))
        return [(row.product_id, row.milvus_id, row.revision) for row in found]


def run_of(database: Database, run_id: int) -> Run:
    with reading(database) as session:
        return session.get_one(Run, run_id)


def bad_lines(database: Database, run_id: int) -> list[str]:
    with reading(database) as session:
        return [problem.subject for problem in queue.fetch_problems(session, run_id, 0, 1000)]


def test_a_batch_adds_changes_and_leaves_alone(database: Database) -> None:
    first: list[dict[str, Any]] = [{"sku": text, "title": f"书 {text}"} for text in HOSTILE]
    first[0] |= {"description": HOSTILE[5], "category": "类", "brand": "牌", "image_hash": "a" * 64}
    first[0] |= {"price": Decimal("1234567890.99"), "attributes": {"n": [1, 1.0, True, "🎒"]}}
    written = database.write(upsert_by_sku, first)
    assert written == ["created"] * len(HOSTILE)
    there = products(database)
    assert [product.sku for product in there] == HOSTILE
    assert events(database) == [(product.id, product.milvus_id, 1) for product in there]
    assert there[0].price == Decimal("1234567890.99")
    assert repr(there[0].attributes) == repr(first[0]["attributes"])
    assert (there[1].attributes, there[1].index_status) == ({}, IndexStatus.pending)
    second = [{"sku": HOSTILE[0], "title": "改了"}, *first[1:3], {"sku": "新", "title": "新"}]
    again = database.write(upsert_by_sku, second)
    assert again == ["updated", "unchanged", "unchanged", "created"]
    assert (products(database)[0].title, products(database)[0].brand) == ("改了", "牌")
    assert [revision for _, _, revision in events(database)] == [1] * len(HOSTILE) + [1, 2]


def test_a_group_is_what_a_row_says_or_its_attributes_name(database: Database) -> None:
    rows: list[dict[str, Any]] = [
        {"sku": "A", "title": "衬衫", "brand": "拾光", "attributes": {"款号": "VR-1"}},
        {"sku": "B", "title": "衬衫", "attributes": {"款号": "VR-1"}, "group": None},
        {"sku": "C", "title": "衬衫", "attributes": {"款号": "VR-1"}, "group": "自己的"},
        {"sku": "D", "title": "衬衫"},
    ]
    database.write(upsert_by_sku, rows)
    assert [one.group for one in products(database)] == ["拾光 VR-1", None, "自己的", None]
    assert database.write(upsert_by_sku, rows) == ["unchanged"] * 4
    later = [{"sku": sku, "attributes": {"款号": "VR-2"}} for sku in "ABCD"]
    database.write(upsert_by_sku, later)
    assert [one.group for one in products(database)] == ["拾光 VR-2", None, "自己的", "VR-2"]


def test_a_sku_that_is_taken_between_is_told_and_nothing_of_the_batch_stays(
    database: Database,
) -> None:
    rows = [{"sku": "A", "title": "一"}, {"sku": "A", "title": "二"}]
    with pytest.raises(IntegrityError):
        database.write(upsert_by_sku, rows)
    assert (products(database), events(database)) == ([], [])


def stopped_at(context: RunContext, rows: int) -> OnProgress:
    def stop(counts: ImportCounts) -> None:
        if counts.rows_done >= rows:
            context.stopping.set()

    return stop


@pytest.mark.parametrize("noted", [10_000, 0])
def test_an_import_that_was_stopped_goes_on_and_counts_nothing_twice(
    database: Database, catalog: Catalog, file: Path, monkeypatch: pytest.MonkeyPatch, noted: int
) -> None:
    monkeypatch.setattr("product_search.bulk.importer.BATCH_SIZE", 5)
    monkeypatch.setattr("product_search.bulk.importer.PAGE", 2)
    monkeypatch.setattr("product_search.bulk.importer.MAX_BAD_ROWS", noted)
    run_id = database.write(
        lambda session: queue.enqueue(session, RunKind.import_, {"file": "a"}).id
    )
    done = []
    for stop in (HALF, 2 * HALF, ROWS + 1):
        with writing(database) as session:
            claimed = queue.claim(session, [RunKind.import_], executor.LEASE, run_id=run_id)
            assert claimed is not None
        ours = RunContext(database, claimed, threading.Event())
        on_progress = stopped_at(ours, stop)
        with open_source(file, ".csv") as source:
            try:
                execute(ours, Importer(catalog, source, on_progress).handle)
            except RunInterrupted:
                done.append(run_of(database, run_id).progress["rows_done"])
    assert done == [HALF, 2 * HALF]
    run = run_of(database, run_id)
    assert run.state == RunState.done
    assert ImportCounts.model_validate(run.progress) == EXPECTED
    assert bad_lines(database, run_id) == (["12", "42"] if noted else [])
    assert [product.title for product in products(database)].count("标题3") == 1
    assert len(products(database)) == len(events(database)) == ROWS - 2


def test_a_run_that_another_process_has_taken_writes_nothing_more(
    database: Database, catalog: Catalog, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("product_search.bulk.importer.BATCH_SIZE", 5)
    with writing(database) as session:
        run = queue.enqueue(session, RunKind.import_, {"file": "a"})
        claimed = queue.claim(session, [RunKind.import_], executor.LEASE)
        assert claimed is not None
    ours = RunContext(database, claimed, threading.Event())

    def cancelled(counts: ImportCounts) -> None:
        if counts.rows_done == HALF:
            database.write(queue.cancel, run.id)

    with open_source(file, ".csv") as source, pytest.raises(RunLost):
        execute(ours, Importer(catalog, source, cancelled).handle)
    assert run_of(database, run.id).progress["rows_done"] == HALF
    assert len(products(database)) == len(events(database)) == HALF - 1


def newest(database: Database) -> Run:
    with reading(database) as session:
        return session.scalars(select(Run).order_by(Run.id.desc())).first() or Run()


@pytest.mark.parametrize(
    "interruption", [KeyboardInterrupt(), DatabaseUnavailable("数据库暂时不可用")]
)
def test_an_import_of_the_command_that_is_broken_off_is_cancelled_and_what_was_written_stays(
    database: Database,
    catalog: Catalog,
    file: Path,
    monkeypatch: pytest.MonkeyPatch,
    interruption: BaseException,
) -> None:
    monkeypatch.setattr("product_search.bulk.importer.BATCH_SIZE", 5)

    def interrupt(counts: ImportCounts) -> None:
        if counts.rows_done == HALF:
            raise interruption

    with pytest.raises(type(interruption)):
        import_file(catalog, file, file.parent, interrupt)
    assert newest(database).state == RunState.cancelled
    assert len(products(database)) == HALF - 1
    report = import_file(catalog, file, file.parent)
    assert newest(database).state == RunState.done
    assert report.counts == EXPECTED.model_copy(
        update={"created": ROWS - 1 - HALF, "unchanged": HALF - 1}
    )
    assert [bad.line for bad in report.bad_rows] == [12, 42]


def test_an_import_of_a_command_that_died_is_never_taken_and_ended_by_the_next(
    database: Database, catalog: Catalog, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("product_search.bulk.importer.LEASE", executor.LEASE * 0)
    with writing(database) as session:
        dead = queue.enqueue(session, RunKind.local_import, {"file": str(file)})
        assert queue.claim(session, [RunKind.local_import], executor.LEASE * 0) is not None
        queued = queue.enqueue(session, RunKind.import_, {"file": "a"})
    taken: list[int] = []
    both = threading.Event()

    def handle(context: RunContext) -> None:
        taken.append(context.claim.id)
        both.set()
        raise RunFailed("没有文件")

    loop = RunExecutor(database, {RunKind.import_: handle})
    loop.start()
    assert both.wait(30)
    loop.stop()
    assert taken == [queued.id]
    assert run_of(database, dead.id).state == RunState.running
    import_file(catalog, file, file.parent)
    assert run_of(database, dead.id).state == RunState.cancelled
    assert newest(database).state == RunState.done


def test_what_a_run_leaves_to_tidy_is_tidied_when_it_has_ended_and_not_before(
    database: Database,
) -> None:
    ends = []
    for error in (None, RunFailed("坏文件"), RunInterrupted()):
        with writing(database) as session:
            queue.enqueue(session, RunKind.doctor, {})
            claimed = queue.claim(session, [RunKind.doctor], executor.LEASE)
            assert claimed is not None
        tidied: list[RunState] = []

        def handle(
            context: RunContext,
            error: Exception | None = error,
            tidied: list[RunState] = tidied,
        ) -> None:
            run_id = context.claim.id
            context.on_finish(lambda: tidied.append(RunState(run_of(database, run_id).state)))
            if error is not None:
                raise error

        try:
            execute(RunContext(database, claimed, threading.Event()), handle)
        except RunInterrupted:
            assert isinstance(error, RunInterrupted)
        ends.append(tidied)
    assert ends == [[RunState.done], [RunState.failed], []]

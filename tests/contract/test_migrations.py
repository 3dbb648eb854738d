"""Migrations on every database: they make what the models say, and keep what was there."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import inspect, select, text

from orm_models import Base, Database, Product, VectorCollection
from product_search.access.addresses import OPEN
from product_search.bootstrap.migrate import (
    COMMAND,
    current_revision,
    head_revision,
    migrate,
    open_schema,
)
from product_search.bootstrap.stores import open_database
from product_search.catalog.products import Catalog
from product_search.catalog.rows import product_out
from product_search.cli import manage
from product_search.errors import DatabaseUnavailable, StartError
from product_search.images.store import ImageStore
from product_search.outbox import events
from product_search.outbox.events import ClaimPolicy
from product_search.settings import Settings
from tests.contract.conftest import drop_all_tables
from tests.sessions import reading, writing

FIRST_RELEASE = Path(__file__).parent
KEPT = """
INSERT INTO product (id, milvus_id, sku, title, price, attributes, revision, index_status,
                     created_at, updated_at)
VALUES (7, 70, 'A-1', '书包🎒', 1990, '{"a": 1}', 3, 'indexed',
        '2026-01-02 03:04:05.000006', '2026-01-02 03:04:05.000006')
"""

ACTIVE = """
INSERT INTO active_collection (id, name, encoder_fingerprint, activated_at)
VALUES (1, 'product_v1_x', 'x', '2026-01-02 03:04:05.000006')
"""


def on_sqlite(database: Database) -> bool:
    return database.engine.dialect.name == "sqlite"


def first_release(database: Database, statements: int | None = None) -> None:
    """Run what the release before migrations ran, or only its first statements."""
    name = "sqlite" if on_sqlite(database) else "mysql"
    lines = (FIRST_RELEASE / f"first_release_{name}.sql").read_text("utf-8").splitlines()
    script = "\n".join(line for line in lines if not line.startswith("--"))
    mariadb = getattr(database.engine.dialect, "is_mariadb", False)
    script = script.replace("{exact}", "utf8mb4_nopad_bin" if mariadb else "utf8mb4_0900_bin")
    with writing(database) as session:
        for statement in script.split(";")[:statements]:
            if statement.strip():
                session.execute(text(statement))


def definitions(database: Database) -> dict[str, list[str]]:
    """By table: the lines of its definition and of its indexes', in no order."""
    with reading(database) as session:
        found: dict[str, list[str]] = {}
        for table in inspect(session.connection()).get_table_names():
            if on_sqlite(database):
                query = text("SELECT sql FROM sqlite_master WHERE tbl_name = :table AND sql <> ''")
                # A column that was added later stands on the last line, before the parenthesis.
                parts = (sql.removesuffix(")") for sql in session.scalars(query, {"table": table}))
                sql = re.sub(r",\s+(?![^()]*\))", "\n", "\n".join(parts))
            else:
                sql = session.execute(text(f"SHOW CREATE TABLE {table}")).one()[1]
            lines = (line.strip().strip(",") for line in sql.splitlines() if line.strip())
            found[table] = sorted(line for line in lines if not line.startswith(") ENGINE"))
    found.pop("alembic_version", None)
    return found


@pytest.fixture
def empty(database: Database) -> Database:
    """A database without any table."""
    drop_all_tables(database)
    return database


def test_migrations_make_what_the_models_say(empty: Database) -> None:
    migrate(empty)
    with empty.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
    migrated = definitions(empty)
    assert set(migrated) == set(Base.metadata.tables)
    drop_all_tables(empty)
    Base.metadata.create_all(empty.engine)
    assert definitions(empty) == migrated


def test_a_database_of_the_release_before_migrations_is_adopted(empty: Database) -> None:
    migrate(empty)
    new = definitions(empty)
    drop_all_tables(empty)
    first_release(empty)
    with writing(empty) as session:
        session.execute(text(KEPT.replace("1990", "1990" if on_sqlite(empty) else "19.90")))
        session.execute(text(ACTIVE))
    migrate(empty)
    assert definitions(empty) == new
    assert current_revision(empty) == head_revision()
    with reading(empty) as session:
        kept = product_out(session.scalars(select(Product)).one(), OPEN)
        (active,) = session.scalars(select(VectorCollection))
    assert (active.name, active.role) == ("product_v1_x", "active")
    assert (active.encoder, active.encoder_fingerprint) == (None, "x")
    assert active.role_since.microsecond == 6
    assert (kept.product_id, kept.milvus_id, kept.sku) == (7, "70", "A-1")
    assert (kept.title, str(kept.price), kept.attributes) == ("书包🎒", "19.90", {"a": 1})
    assert kept.created_at.microsecond == 6
    assert kept.image_generated is False


def test_the_mark_of_generated_images_is_added_once_however_often_it_is_tried(
    empty: Database,
) -> None:
    migrate(empty)
    whole = definitions(empty)
    with writing(empty) as session:
        session.add(Product(title="画的", image_generated=True))
        session.execute(text("UPDATE alembic_version SET version_num = '0008'"))
    migrate(empty)
    assert definitions(empty) == whole
    assert current_revision(empty) == head_revision()
    with reading(empty) as session:
        assert session.scalars(select(Product.image_generated)).all() == [True]


@pytest.mark.parametrize("done", ["", "column", "column and indexes"])
def test_groups_are_added_once_and_old_products_have_none(empty: Database, done: str) -> None:
    migrate(empty)
    whole = definitions(empty)
    with writing(empty) as session:
        session.add(Product(title="衬衫", attributes={"款号": "VR-1"}))
        table = "" if on_sqlite(empty) else " ON product"
        for index in ("group_key", "binding") if "indexes" not in done else ():
            session.execute(text(f"DROP INDEX ix_product_{index}{table}"))
        if not done:
            session.execute(text("ALTER TABLE product DROP COLUMN group_key"))
        session.execute(text("UPDATE alembic_version SET version_num = '0011'"))
    migrate(empty)
    assert definitions(empty) == whole
    with reading(empty) as session:
        assert session.scalars(select(Product.group)).all() == [None]


@pytest.mark.parametrize("done", ["", "column", "column and index"])
def test_what_waits_at_the_upgrade_waits_behind_what_is_written_after_it(
    empty: Database, tmp_path: Path, done: str
) -> None:
    """An import may be in flight, and nobody knows any more whose the events are."""
    migrate(empty)
    whole = definitions(empty)
    with writing(empty) as session:
        columns = "product_id, milvus_id, operation, revision, created_at"
        values = ", ".join(f"({one}, {one}, 'upsert', 1, '2026-01-02')" for one in (70, 71))
        session.execute(text(f"INSERT INTO outbox_event ({columns}) VALUES {values}"))
        table = "" if on_sqlite(empty) else " ON outbox_event"
        if "index" not in done:
            session.execute(text(f"DROP INDEX ix_outbox_event_priority{table}"))
        if not done:
            session.execute(text("ALTER TABLE outbox_event DROP COLUMN priority"))
        session.execute(text("UPDATE alembic_version SET version_num = '0013'"))
    migrate(empty)
    assert definitions(empty) == whole
    made = Catalog(empty, ImageStore(tmp_path / "images")).create({"title": "书包"}, None)
    claim = empty.write(events.claim, 10, ClaimPolicy())
    assert [item.product_id for item in claim.items] == [made.product_id, 70, 71]


@pytest.mark.parametrize("statements", [1, 2, 6])
def test_a_migration_that_was_cut_off_is_finished(empty: Database, statements: int) -> None:
    migrate(empty)
    whole = definitions(empty)
    drop_all_tables(empty)
    first_release(empty, statements)
    migrate(empty)
    assert definitions(empty) == whole


def test_migrating_again_changes_nothing(database: Database) -> None:
    with writing(database) as session:
        session.add(Product(title="书包"))
    before = definitions(database)
    migrate(database)
    assert definitions(database) == before
    assert current_revision(database) == head_revision()
    with reading(database) as session:
        assert session.scalars(select(Product.title)).all() == ["书包"]


def test_migrations_at_the_same_time_do_not_disturb_each_other(empty: Database) -> None:
    errors: list[Exception] = []
    url = empty.engine.url.render_as_string(hide_password=False)

    def start(ready: threading.Barrier) -> None:
        database = Database(url)
        try:
            ready.wait()
            migrate(database)
        except Exception as error:  # noqa: BLE001 (told by the main thread)
            errors.append(error)
        finally:
            database.close()

    ready = threading.Barrier(4)
    threads = [threading.Thread(target=start, args=(ready,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    with reading(empty) as session:
        versions = session.scalars(text("SELECT version_num FROM alembic_version")).all()
    assert versions == [head_revision()]


def _of_a_newer_release(database: Database) -> None:
    with writing(database) as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))


@pytest.mark.parametrize("use", [migrate, open_schema])
def test_the_tables_of_a_newer_release_are_refused(
    database: Database, use: Callable[[Database], None]
) -> None:
    _of_a_newer_release(database)
    with pytest.raises(StartError, match="9999"):
        use(database)
    assert current_revision(database) == "9999"


def settings_over(database: Database, folder: Path) -> Settings:
    url = database.engine.url.render_as_string(hide_password=False)
    return Settings(_env_file=None, data_dir=folder, database_url=url)


def test_a_service_migrates_sqlite_itself_and_refuses_a_server_that_is_behind(
    empty: Database, tmp_path: Path
) -> None:
    settings = settings_over(empty, tmp_path)
    if on_sqlite(empty):
        with open_database(settings) as database:
            assert current_revision(database) == head_revision()
        return
    with pytest.raises(StartError) as refused, open_database(settings):
        pass
    assert COMMAND in str(refused.value)
    assert definitions(empty) == {}
    migrate(empty)
    with open_database(settings) as database:
        catalog = Catalog(database, ImageStore(tmp_path / "images"))
        assert catalog.create({"title": "书包"}, None).product_id == 1


def test_the_command_migrates_every_database(
    empty: Database,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    settings = settings_over(empty, tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PRODUCT_SEARCH_DATA_DIR", str(settings.data_dir))
    monkeypatch.setenv("PRODUCT_SEARCH_DATABASE_URL", str(settings.database_url))
    with caplog.at_level(logging.INFO):
        assert manage.main(["migrate"]) == 0
        assert manage.main(["migrate"]) == 0
    said = [record.getMessage() for record in caplog.records if "表结构" in record.getMessage()]
    head = head_revision()
    assert said == [f"数据库的表结构：空 → {head}", f"数据库的表结构：{head} → {head}"]
    _of_a_newer_release(empty)
    assert manage.main(["migrate"]) == 2


def test_a_file_that_is_no_database_is_told_as_unavailable(tmp_path: Path) -> None:
    path = tmp_path / "catalog.sqlite3"
    path.write_bytes(b"no database" * 1_000)
    database = Database(f"sqlite:///{path}")
    with pytest.raises(DatabaseUnavailable):
        migrate(database)
    database.close()

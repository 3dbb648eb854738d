"""The folder of everything that the service writes."""

from __future__ import annotations

from pathlib import Path

from product_search.bootstrap.stores import open_database
from product_search.settings import Settings


def test_a_new_data_folder_is_its_owners_alone(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "of" / "ours")
    with open_database(settings):
        assert (settings.data_dir / "catalog.sqlite3").exists()
    assert settings.data_dir.stat().st_mode & 0o077 == 0


def test_a_data_folder_that_is_there_stays_as_it_is(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o770)
    with open_database(Settings(data_dir=shared)):
        assert (shared / "catalog.sqlite3").exists()
    assert shared.stat().st_mode & 0o777 == 0o770

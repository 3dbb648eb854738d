"""Live collections whose encoders can't be loaded: what is given up, by whom, and the ways out."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import delete

from main import create_app
from orm_models import VectorCollection
from product_search.cli import manage
from product_search.indexing.collections import Role
from product_search.settings import Settings
from tests.api.helpers import listed, resources
from tests.api.reindexing import (
    PRODUCTS,
    command,
    encoder_of,
    held,
    idle,
    settings as settings,
    stock,
)
from tests.clock import until
from tests.sessions import writing


def test_a_service_that_lost_the_active_encoders_goes_back_to_the_previous_collection(
    settings: Settings,
) -> None:
    with TestClient(create_app(settings)) as api:
        stock(api)
        starter = resources(api).encoders.fingerprint
        assert command("--encoder", "chinese-clip") == 0
    assert settings.clip_dir is not None
    shutil.rmtree(settings.clip_dir)
    with TestClient(create_app(settings)) as api:
        assert resources(api).encoders.fingerprint == starter
        assert listed(api, index_status="indexed")["total"] == PRODUCTS  # none is indexed anew
        assert list(held(resources(api).collections)) == [Role.active]


def test_a_command_gives_up_no_collection_whose_encoders_only_it_lacks(
    settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with TestClient(create_app(settings)) as api:
        stock(api)
        assert command("--encoder", "chinese-clip") == 0
    monkeypatch.delenv("PRODUCT_SEARCH_CLIP_DIR")
    table = tmp_path / "one.csv"
    table.write_text("sku,title\nA,一件\n", encoding="utf-8")
    assert manage.main(["import", str(table)]) == 2
    assert "--rollback" in caplog.text
    with TestClient(create_app(settings)) as api:
        assert encoder_of(api) == "chinese-clip"
        assert listed(api, index_status="indexed")["total"] == PRODUCTS
        assert set(held(resources(api).collections)) == {Role.active, Role.previous}


@pytest.mark.parametrize(
    ("left", "commands"),
    [
        ([Role.active], [(["--give-up-active"], 0)]),
        (
            [Role.active, Role.previous],
            [(["--give-up-active"], 2), (["--drop-old"], 0), (["--give-up-active"], 0)],
        ),
        (
            [Role.active],
            [
                (["--encoder", "starter"], 2),  # can't be done, and stays queued
                (["--give-up-active"], 2),
                (["--cancel"], 0),
                (["--give-up-active"], 0),
            ],
        ),
    ],
    ids=["active", "and previous", "and a reindexing"],
)
def test_commands_lead_out_where_the_weights_of_live_collections_are_gone(
    settings: Settings, tmp_path: Path, left: list[Role], commands: list[tuple[list[str], int]]
) -> None:
    with TestClient(create_app(settings)) as api:
        stock(api)
        with writing(resources(api).database) as session:
            session.execute(delete(VectorCollection))
            for role in left:
                name = f"product_v2_{role}"
                lost = {"encoder": "starter", "encoder_fingerprint": role}
                session.add(VectorCollection(name=name, role=role, **lost))
    for arguments, status in commands:
        assert command(*arguments) == status
    table = tmp_path / "one.csv"
    table.write_text("sku,title\nA,一件\n", encoding="utf-8")
    assert manage.main(["import", str(table)]) == 2  # to begin anew is the service's
    with TestClient(create_app(settings)) as api:
        assert encoder_of(api) == "starter"
        until(lambda: idle(api), "the indexing")
        assert listed(api, index_status="indexed")["total"] == PRODUCTS

"""A catalog that was encoded otherwise than this release does is encoded anew, by itself."""

from __future__ import annotations

import shutil
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from main import create_app
from product_search.bootstrap import encoders
from product_search.settings import Settings
from tests.api.exclusive_runs import run_to_end
from tests.api.helpers import resources
from tests.contract.test_service import found, settings as settings

FORMER = (
    "data_of_0_1_0.zip",  # four products, before images were decoded by their profiles
    "data_in_float32.zip",  # three products, before texts were encoded in int8
)
DEADLINE_S = 60


def assert_renewed(client: TestClient, searches: Callable[[TestClient], None]) -> None:
    """Searches go on until everything is encoded anew, /health says so, and nothing drifts."""
    hint = client.get("/health").json()["encoders"]["hint"]
    assert "重新编码" in hint
    former = resources(client).encoders.fingerprint
    deadline = time.monotonic() + DEADLINE_S
    while (health := client.get("/health").json())["encoders"]["hint"] is not None:
        assert health["vector_store"] == "ok"
        searches(client)
        assert time.monotonic() < deadline
    assert health["encoders"]["fingerprint"] != former
    searches(client)
    drift = run_to_end(client, "/system/drift", shown_at="/system/drift")["last"]
    in_both = 2 * drift["products"]  # the former collection is kept: the way back
    assert (drift["entities"], sum(drift["found"].values())) == (in_both, 0)


def search_sample(client: TestClient) -> None:
    assert found(client, mode="text_to_image", text="苹果")[0] == "红富士苹果"
    assert found(client, mode="image_to_image", product_id=1)[0] == "红色双肩包"


def test_on_every_database(
    settings: Settings, sample_image: Callable[[str], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(encoders, "VERSION", 1)
        with TestClient(create_app(settings)) as client:
            for title, picture in (("红色双肩包", "1f392-red.webp"), ("红富士苹果", "1f34e.webp")):
                answer = client.post(
                    "/product?wait=true",
                    data={"title": title},
                    files={"image": sample_image(picture)},
                )
                assert answer.json()["index_status"] == "indexed"
    with TestClient(create_app(settings)) as client:
        assert_renewed(client, search_sample)


@pytest.mark.parametrize("former", FORMER)
def test_a_data_folder_of_a_release_before(
    open_settings: Callable[[], Settings], tmp_path: Path, former: str
) -> None:
    settings = open_settings()
    with zipfile.ZipFile(Path(__file__).with_name(former)) as archive:
        archive.extractall(tmp_path)
    shutil.copytree(tmp_path / "data", settings.data_dir, dirs_exist_ok=True)
    with TestClient(create_app(settings)) as client:
        assert_renewed(client, search_sample)

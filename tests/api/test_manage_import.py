"""`manage import` from its command line: exit codes, indexing, and beside a running service."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from main import create_app
from product_search.cli import manage
from product_search.settings import Settings
from tests.api.helpers import ids, listed, resources, search
from tests.unit.pictures import encoded, four_colours

PNG = encoded(four_colours(), "PNG")
ROWS = "sku,title,price,image_path\nA,红色双肩包,129.00,a.png\nB,保温杯,19.9,\n"


@pytest.fixture
def settings(
    open_settings: Callable[[], Settings],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
) -> Settings:
    """Settings as the command reads them, from the environment."""
    chosen = open_settings()
    monkeypatch.chdir(tmp_path)
    caplog.set_level(logging.INFO)
    monkeypatch.setenv("PRODUCT_SEARCH_DATA_DIR", str(chosen.data_dir))
    monkeypatch.setenv("PRODUCT_SEARCH_ENCODER", "starter")
    monkeypatch.setenv("PRODUCT_SEARCH_DEVICE", "cpu")
    return chosen


def write(folder: Path, rows: str, name: str = "a.csv") -> str:
    (folder / "a.png").write_bytes(PNG)
    (folder / name).write_text(rows, "utf-8")
    return str(folder / name)


def test_without_a_service_the_command_indexes_by_itself(
    settings: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = write(tmp_path, ROWS)
    assert manage.main(["import", file]) == 0
    assert manage.main(["import", file]) == 0
    assert "新增 2" in caplog.text
    assert "未变 2" in caplog.text
    with TestClient(create_app(settings)) as api:
        page = listed(api, sort="oldest", index_status="indexed")
        assert [item["sku"] for item in page["items"]] == ["A", "B"]
        assert ids(search(api, "text_to_text", text="喝水的杯子", top_k=1)) == [
            page["items"][1]["product_id"]
        ]


def test_bad_rows_are_told_and_the_exit_code_is_1(
    settings: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = ROWS + 'C,"两\n行",-1,\nD,伞,1,../../etc/passwd\nE,帽子,2,\n'
    assert manage.main(["import", write(tmp_path, rows)]) == 1
    assert "第 4 行" in caplog.text
    assert "第 6 行" in caplog.text
    assert "坏行 2" in caplog.text
    with TestClient(create_app(settings)) as api:
        assert listed(api, index_status="indexed")["total"] == 3


@pytest.mark.parametrize(
    ("name", "rows"),
    [("a.csv", "sku,title,colour\nA,一,红\n"), ("a.txt", ROWS), ("a.csv", "")],
)
def test_a_file_that_can_not_be_imported_is_exit_code_2(
    settings: Settings, tmp_path: Path, name: str, rows: str
) -> None:
    assert manage.main(["import", write(tmp_path, rows, name)]) == 2
    assert not settings.milvus_path.exists()


def test_a_file_that_is_not_there_is_exit_code_2(settings: Settings, tmp_path: Path) -> None:
    assert manage.main(["import", str(tmp_path / "none.csv")]) == 2
    assert not settings.milvus_path.exists()


def test_missing_weights_are_exit_code_2(
    settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("PRODUCT_SEARCH_ENCODER", "chinese-clip")
    assert manage.main(["import", write(tmp_path, ROWS)]) == 2
    assert "download-models" in caplog.text
    assert not (settings.data_dir / "images").exists()


@pytest.mark.parametrize("arguments", [[], ["import"], ["export"], ["import", "a", "b"]])
def test_a_wrong_command_line_is_explained(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert manage.main(arguments) == 2
    assert "Usage" in capsys.readouterr().err


def test_images_may_lie_in_another_folder(settings: Settings, tmp_path: Path) -> None:
    images = tmp_path / "photos"
    images.mkdir()
    (images / "b.png").write_bytes(PNG)
    file = write(tmp_path, "sku,title,image_path\nA,书,b.png\n")
    assert manage.main(["import", file]) == 1
    assert manage.main(["import", file, "--images", str(images)]) == 0


def test_while_a_service_runs_the_command_follows_its_indexing(
    settings: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = write(tmp_path, ROWS)
    with TestClient(create_app(settings)) as api:
        assert manage.main(["import", file]) == 0
        assert listed(api, index_status="indexed")["total"] == 2
        assert resources(api).entities.count() == 2
        assert search(api, "text_to_text", text="红色双肩包", top_k=1)[0]["product"]["sku"] == "A"
    assert settings.api_url in caplog.text

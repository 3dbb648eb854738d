"""`manage download-models --generation`; ModelScope's part is a folder that stands for the hub."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path

import modelscope
import pytest

from product_search.cli import manage
from product_search.generation.diffusers import has_pipeline, open_generator
from product_search.settings import GENERATION_MODELS, Settings
from tests.generation import write_pipeline


class Hub:
    """A snapshot in a folder, of which it gives what is asked for."""

    def __init__(self, snapshot: Path) -> None:
        self.snapshot = snapshot
        self.asked: list[tuple[str, str]] = []

    def snapshot_download(
        self,
        model_id: str,
        *,
        revision: str,
        local_dir: str,
        allow_patterns: Sequence[str],
    ) -> str:
        """Files whose path fits one of the patterns, as ModelScope matches them."""
        self.asked.append((model_id, revision))
        for path in self.snapshot.rglob("*"):
            name = str(path.relative_to(self.snapshot))
            if path.is_file() and any(fnmatch(name, pattern) for pattern in allow_patterns):
                target = Path(local_dir) / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, target)
        return local_dir


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    hub = Hub(write_pipeline(tmp_path / "hub"))
    for name in ("README.md", "assets/example.png", "z-image.safetensors", "vae/old.bin"):
        path = hub.snapshot / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"not needed")
    monkeypatch.setattr(modelscope, "snapshot_download", hub.snapshot_download)
    monkeypatch.setenv("PRODUCT_SEARCH_DATA_DIR", str(tmp_path / "data"))
    return hub


def test_the_model_of_the_settings_is_fetched_and_loads(
    hub: Hub, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        assert manage.main(["download-models", "--generation"]) == 0
    assert hub.asked == [("Tongyi-MAI/Z-Image-Turbo", "master")]
    assert "33 GB" in caplog.text
    folder = Settings().generation_folder
    assert has_pipeline(folder)
    generator = open_generator(folder, "cpu")
    generator.check()
    assert generator.name == "Tongyi-MAI/Z-Image-Turbo"


def test_only_what_a_pipeline_needs_is_fetched(hub: Hub) -> None:
    assert manage.main(["download-models", "--generation"]) == 0
    folder = Settings().generation_folder
    fetched = {path.suffix for path in folder.rglob("*") if path.is_file()}
    assert fetched <= {".json", ".safetensors", ".txt", ".jinja", ""}
    assert not list(folder.glob("*.safetensors"))
    assert (hub.snapshot / "assets").is_dir()
    assert not (folder / "assets").exists()


@pytest.mark.parametrize("choice", ["light", "strong"])
def test_another_choice_lies_beside_it_and_says_how_to_use_it(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, choice: str
) -> None:
    with caplog.at_level("INFO"):
        assert manage.main(["download-models", "--generation", choice]) == 0
    assert f"PRODUCT_SEARCH_GENERATION_MODEL={choice}" in caplog.text
    assert not has_pipeline(Settings().generation_folder)
    monkeypatch.setenv("PRODUCT_SEARCH_GENERATION_MODEL", choice)
    assert has_pipeline(Settings().generation_folder)
    assert manage.main(["download-models", "--generation"]) == 0
    assert len(hub.asked) == 1


def test_a_snapshot_that_lacks_weights_is_refused(
    hub: Hub, caplog: pytest.LogCaptureFixture
) -> None:
    (hub.snapshot / "transformer" / "diffusion_pytorch_model.safetensors").unlink()
    assert manage.main(["download-models", "--generation"]) == 2
    assert GENERATION_MODELS["default"].model in caplog.text
    assert not Settings().generation_folder.exists()


def test_a_part_that_was_lost_is_fetched_again(hub: Hub) -> None:
    assert manage.main(["download-models", "--generation"]) == 0
    shutil.rmtree(Settings().generation_folder / "vae")
    assert manage.main(["download-models", "--generation"]) == 0
    assert has_pipeline(Settings().generation_folder)
    assert len(hub.asked) == 2


def test_an_unknown_choice_is_told(hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    assert manage.main(["download-models", "--generation", "huge"]) == 2
    assert "strong" in capsys.readouterr().err
    assert hub.asked == []

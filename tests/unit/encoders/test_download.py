"""Downloads: the target appears whole or not at all; ModelScope's part is a function of ours."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import modelscope
import pytest
from modelscope.hub.errors import HubError

from product_search.encoders.bge import BgeEncoder
from product_search.encoders.checkpoints import has_weights
from product_search.encoders.download import download_model
from product_search.errors import EncoderError
from tests.unit.checkpoints import write_bge

Fetch = Callable[..., str]


class Hub:
    """A model hub in memory: what it was asked for, and what it does then."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.seed = 0
        self.error: Exception | None = None
        self.whole = True

    def snapshot_download(
        self, model_id: str, *, revision: str, local_dir: str, **_options: Any
    ) -> str:
        """Writes a checkpoint into `local_dir`; half of it where an error is set."""
        self.asked.append((model_id, revision))
        folder = Path(local_dir)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text("{}")
        if self.error is not None:
            raise self.error
        if self.whole:
            write_bge(folder, self.seed)
        return local_dir


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Hub:
    hub = Hub()
    monkeypatch.setattr(modelscope, "snapshot_download", hub.snapshot_download)
    return hub


def test_a_download_gives_a_checkpoint_that_loads(hub: Hub, tmp_path: Path) -> None:
    target = tmp_path / "models" / "BAAI--bge"
    download_model("BAAI/bge", "master", target)
    assert hub.asked == [("BAAI/bge", "master")]
    assert BgeEncoder(target).encode_documents(["红"]).shape[0] == 1
    assert [path.name for path in target.parent.iterdir()] == [target.name]


def test_a_revision_that_is_there_is_left_alone(hub: Hub, tmp_path: Path) -> None:
    target = tmp_path / "bge"
    download_model("BAAI/bge", "master", target)
    (target / "mine.txt").write_text("still here")
    download_model("BAAI/bge", "master", target)
    assert len(hub.asked) == 1
    assert (target / "mine.txt").exists()


@pytest.mark.parametrize("wanted", [("BAAI/bge", "v2"), ("other/bge", "master")])
def test_another_model_or_revision_replaces_it(
    hub: Hub, tmp_path: Path, wanted: tuple[str, str]
) -> None:
    target = tmp_path / "bge"
    download_model("BAAI/bge", "master", target)
    before = BgeEncoder(target).fingerprint
    hub.seed = 1
    download_model(*wanted, target)
    assert hub.asked[-1] == wanted
    assert BgeEncoder(target).fingerprint != before


@pytest.mark.parametrize(
    "error", [OSError("no network"), HubError("no such model"), ConnectionError("refused")]
)
def test_a_download_that_fails_leaves_no_target(hub: Hub, tmp_path: Path, error: Exception) -> None:
    hub.error = error
    with pytest.raises(EncoderError) as caught:
        download_model("BAAI/bge", "master", tmp_path / "bge")
    assert not (tmp_path / "bge").exists()
    assert "BAAI/bge" in str(caught.value)
    assert str(error) in str(caught.value)


def test_a_failed_download_leaves_the_old_model_in_place(hub: Hub, tmp_path: Path) -> None:
    target = tmp_path / "bge"
    download_model("BAAI/bge", "master", target)
    before = BgeEncoder(target).fingerprint
    hub.error = OSError("no network")
    with pytest.raises(EncoderError):
        download_model("BAAI/bge", "v2", target)
    assert BgeEncoder(target).fingerprint == before


def test_a_failed_download_is_resumed_by_the_next(hub: Hub, tmp_path: Path) -> None:
    hub.error = OSError("no network")
    with pytest.raises(EncoderError):
        download_model("BAAI/bge", "master", tmp_path / "bge")
    hub.error = None
    download_model("BAAI/bge", "master", tmp_path / "bge")
    assert has_weights(tmp_path / "bge")


def test_a_snapshot_without_weights_is_refused(hub: Hub, tmp_path: Path) -> None:
    hub.whole = False
    with pytest.raises(EncoderError):
        download_model("BAAI/bge", "master", tmp_path / "bge")
    assert not (tmp_path / "bge").exists()

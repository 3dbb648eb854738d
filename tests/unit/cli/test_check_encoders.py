"""`manage check-encoders`: a checkpoint whose int8 is unlike its float32 is used in float32."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import modelscope
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from nlp_models import EncoderPair, open_encoders
from product_search.cli import manage
from product_search.encoders.precision import Precision
from product_search.settings import Settings
from tests.unit.checkpoints import write_bge, write_clip


@pytest.fixture(autouse=True)
def _settings_of_a_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def opened(precision: Precision | None = None) -> EncoderPair:
    settings = Settings()
    return open_encoders(
        "chinese-clip",
        clip=settings.downloaded_clip,
        bge=settings.downloaded_bge,
        starter=settings.shipped_starter,
        device="cpu",
        precision=precision,
    )


def spoil(folder: Path) -> None:
    """Let one channel be so large that int8 sees nothing of the others."""
    weights = folder / "model.safetensors"
    tensors = load_file(weights)
    name = "text_model.encoder.layer.0"
    tensors[f"{name}.intermediate.dense.bias"][0] = 1e5
    tensors[f"{name}.output.dense.weight"][:, 0] = 0
    tensors[f"{name}.output.dense.weight"] *= np.float32(100)
    save_file(tensors, weights, {"format": "pt"})


def test_checkpoints_that_agree_are_used_in_int8(caplog: pytest.LogCaptureFixture) -> None:
    write_clip(Settings().downloaded_clip)
    write_bge(Settings().downloaded_bge)
    with caplog.at_level("INFO"):
        assert manage.main(["check-encoders"]) == 0
    assert len([record for record in caplog.records if "余弦" in record.message]) == 3
    assert opened().precision == "int8"


def test_one_that_does_not_is_used_in_float32_and_its_vectors_are_found_out_of_date(
    caplog: pytest.LogCaptureFixture,
) -> None:
    spoil(write_clip(Settings().downloaded_clip))
    write_bge(Settings().downloaded_bge)
    before = opened()
    assert (before.precision, before.is_outdated) == ("int8", False)
    assert manage.main(["check-encoders"]) == 1
    assert "不一致" in caplog.text
    after, former = opened(), opened("int8")
    assert (after.precision, after.is_outdated) == ("float", False)
    assert former.fingerprint == before.fingerprint  # a collection of before still opens
    assert former.is_outdated


def test_a_mark_goes_with_its_reason() -> None:
    folder = Settings().downloaded_clip
    spoil(write_clip(folder))
    assert manage.main(["check-encoders"]) == 1
    write_clip(folder, seed=1)
    assert manage.main(["check-encoders"]) == 0
    assert not (folder / "FLOAT_ONLY").exists()


def test_there_may_be_nothing_to_check() -> None:
    assert manage.main(["check-encoders"]) == 0


@pytest.mark.parametrize("is_spoilt", [False, True])
def test_a_download_is_checked(monkeypatch: pytest.MonkeyPatch, is_spoilt: bool) -> None:
    def snapshot_download(model_id: str, *, local_dir: str, **_options: str | Sequence[str]) -> str:
        folder = Path(local_dir)
        if "clip" not in model_id:
            write_bge(folder)
        elif is_spoilt:
            spoil(write_clip(folder))
        else:
            write_clip(folder)
        return local_dir

    monkeypatch.setattr(modelscope, "snapshot_download", snapshot_download)
    assert manage.main(["download-models"]) == int(is_spoilt)
    assert opened().precision == ("float" if is_spoilt else "int8")

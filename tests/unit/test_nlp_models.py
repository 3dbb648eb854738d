"""The choice of an encoder pair, its fingerprint, and what the choice leaves unimported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from nlp_models import EncoderPair, open_encoders, resolve_device
from product_search.encoders.bge import BgeEncoder
from product_search.encoders.chinese_clip import ChineseClipEncoder
from product_search.encoders.precision import Precision
from product_search.errors import EncoderError
from product_search.images.decoding import VERSION
from product_search.settings import ROOT
from tests.unit.checkpoints import write_bge, write_clip

STARTER = ROOT / "models" / "starter"
SHIPPED_BGE = ROOT / "models" / "bge-small-zh-v1.5"
# Names the folders of data that exist: were it another, every catalog would be indexed anew.
STARTER_FINGERPRINT = "6ab25ec85180"
FLOAT_FINGERPRINT = "47c0adc8d832"  # on a GPU, and of data folders from before int8
FORMER_FINGERPRINT = (
    "a34d462c0503"  # of data folders whose images were decoded without their profiles
)
HEAVY = ("torch", "transformers", "onnxruntime", "safetensors", "modelscope")


@pytest.fixture(scope="module")
def bge_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bge(tmp_path_factory.mktemp("bge"))


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="module")
def bge(bge_folder: Path) -> BgeEncoder:
    return BgeEncoder(bge_folder, batch_tokens=40)


@pytest.fixture(scope="module")
def clip(clip_folder: Path) -> ChineseClipEncoder:
    return ChineseClipEncoder(clip_folder, batch_size=3)


def test_a_pairs_fingerprint_changes_with_either_encoder(
    tmp_path: Path, bge: BgeEncoder, clip: ChineseClipEncoder
) -> None:
    other = BgeEncoder(write_bge(tmp_path / "bge", seed=1))
    other_clip = ChineseClipEncoder(write_clip(tmp_path / "clip", seed=1))
    pairs = [(bge, clip), (other, clip), (bge, other_clip)]
    prints = {EncoderPair("x", text, images, "cpu").fingerprint for text, images in pairs}
    assert len(prints) == 3
    assert all(len(value) == 12 and int(value, 16) >= 0 for value in prints)


def test_the_starter_pair_says_which_of_its_files_is_missing(
    bge_folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(EncoderError, match=r"image-int8\.onnx"):
        open_encoders("starter", clip=tmp_path, bge=bge_folder, starter=tmp_path, device="cpu")


def test_auto_is_chinese_clip_where_its_weights_are_on_disk(
    bge_folder: Path, clip_folder: Path
) -> None:
    pair = open_encoders("auto", clip=clip_folder, bge=bge_folder, starter=STARTER, device="cpu")
    assert (pair.name, pair.device) == ("chinese-clip", "cpu")
    assert isinstance(pair.image_text, ChineseClipEncoder)


def test_auto_is_the_starter_where_they_are_not(tmp_path: Path) -> None:
    shipped = ROOT / "models" / "bge-small-zh-v1.5"
    for clip in (tmp_path / "nowhere", tmp_path):
        pair = open_encoders("auto", clip=clip, bge=shipped, starter=STARTER, device="cpu")
        assert pair.name == "starter"


def test_a_chosen_encoder_without_weights_is_no_other_encoder(
    bge_folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(EncoderError):
        open_encoders("chinese-clip", clip=tmp_path, bge=bge_folder, starter=STARTER, device="cpu")


def test_a_named_device_is_that_device() -> None:
    assert resolve_device("cpu") == "cpu"
    if torch.cuda.is_available():
        assert resolve_device("cuda") == "cuda"
    assert resolve_device("auto") in {"cpu", "cuda"}


@pytest.mark.parametrize(
    ("fingerprint", "image_version", "precision", "is_outdated"),
    [
        (STARTER_FINGERPRINT, VERSION, None, False),
        (STARTER_FINGERPRINT, VERSION, "int8", False),
        (FLOAT_FINGERPRINT, VERSION, "float", True),
        (FORMER_FINGERPRINT, 1, "float", True),
    ],
)
def test_the_pair_that_ships_has_the_fingerprint_that_collections_are_named_by(
    fingerprint: str, image_version: int, precision: Precision | None, is_outdated: bool
) -> None:
    pair = open_encoders(
        "starter",
        clip=STARTER,
        bge=SHIPPED_BGE,
        starter=STARTER,
        device="cpu",
        image_version=image_version,
        precision=precision,
    )
    assert pair.fingerprint == fingerprint
    assert pair.is_outdated == is_outdated


def test_an_import_of_the_room_imports_no_heavy_library() -> None:
    script = "import sys, nlp_models; print(*sys.modules)"
    command = [sys.executable, "-c", script]
    modules = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "product_search.encoders.checkpoints" in modules.split()
    assert [name for name in HEAVY if name in modules.split()] == []


def test_the_starter_imports_no_chinese_clip(bge_folder: Path) -> None:
    script = f"""
import sys
from pathlib import Path
from nlp_models import open_encoders
here = Path({str(bge_folder)!r})
open_encoders("starter", clip=here, bge=here, starter=Path({str(STARTER)!r}), device="cpu")
print(*sys.modules)
"""
    command = [sys.executable, "-c", script]
    modules = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "product_search.encoders.starter" in modules.split()
    assert "product_search.encoders.chinese_clip" not in modules.split()

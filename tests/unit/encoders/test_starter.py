"""The starter's image side: what its network is given, and what int8 makes of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from PIL import Image

from product_search.encoders.agreement import Agreement
from product_search.encoders.bge import BgeEncoder
from product_search.encoders.embeddings import Matrix, normalised
from product_search.encoders.precision import PRECISIONS, Precision
from product_search.encoders.starter import StarterEncoder, network_pixels
from product_search.errors import EncoderError
from product_search.training.starter.images import open_image
from tests.test_layers import ROOT
from tests.unit.checkpoints import write_bge
from tests.unit.pictures import noise

STARTER = ROOT / "models" / "starter"
PICTURES = ROOT / "tests" / "relevance" / "images" / "pictures"  # no range was taken from these


@pytest.fixture(scope="module")
def bge(tmp_path_factory: pytest.TempPathFactory) -> BgeEncoder:
    return BgeEncoder(write_bge(tmp_path_factory.mktemp("bge")))


@pytest.fixture(scope="module")
def pictures() -> list[Image.Image]:
    return [open_image(path) for path in sorted(PICTURES.iterdir())]


def test_pixels_are_scaled_as_the_network_wants() -> None:
    pixels = network_pixels([Image.new("RGB", (30, 500), (127, 255, 0)), noise((40, 30), 1)])
    assert pixels.shape == (2, 3, 224, 224)
    assert pixels.dtype == np.float32
    np.testing.assert_allclose(pixels[0, :, 5, 5], [0, 1, -127 / 128])


def test_int8_agrees_with_float32_on_pictures_of_other_kinds(
    bge: BgeEncoder, pictures: list[Image.Image]
) -> None:
    encoder, exact = StarterEncoder(STARTER, bge, precision="int8"), StarterEncoder(STARTER, bge)
    found = Agreement.between(encoder.encode_images(pictures), exact.encode_images(pictures))
    assert found.count >= 50
    assert found.mean >= 0.995
    assert found.least >= 0.985
    assert found.least < 0.9999  # it is not float32 under another name


def test_int8_looks_where_float32_does(pictures: list[Image.Image]) -> None:
    maps = [attention(name, pictures[::6]) for name in ("image-int8.onnx", "image.onnx")]
    found = Agreement.between(*maps)
    assert found.mean >= 0.995
    assert found.least >= 0.985


def attention(name: str, pictures: list[Image.Image]) -> Matrix:
    """Rows of length 1: how much the network sees where."""
    session = onnxruntime.InferenceSession(STARTER / name, providers=["CPUExecutionProvider"])
    (seen,) = session.run(["attention"], {"pixels": network_pixels(pictures)})
    return normalised(seen.reshape(len(seen), -1))


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_vector_does_not_depend_on_the_batch(
    bge: BgeEncoder, pictures: list[Image.Image], precision: Precision
) -> None:
    encoder = StarterEncoder(STARTER, bge, precision=precision)
    odd = [Image.new("RGB", (9, 9), colour) for colour in ("black", "white", "red")]
    pixels = encoder.pixels([*pictures[::8], *odd, noise((300, 200))])
    alone = np.concatenate([encoder.embed_pixels([one]) for one in pixels])
    order = np.random.default_rng(0).permutation(len(pixels))
    for start in range(0, len(order), 8):
        mixed = order[start : start + 8]
        batch = encoder.embed_pixels([pixels[one] for one in mixed])
        assert Agreement.between(batch, alone[mixed]).least >= 0.9999


def test_each_precision_has_a_fingerprint_of_its_own(bge: BgeEncoder) -> None:
    prints = {StarterEncoder(STARTER, bge, precision=one).fingerprint for one in PRECISIONS}
    assert len(prints) == 2


def test_the_file_of_the_precision_must_be_there(bge: BgeEncoder, tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match=r"image-int8\.onnx"):
        StarterEncoder(tmp_path, bge, precision="int8")
    with pytest.raises(EncoderError, match=r"image\.onnx"):
        StarterEncoder(tmp_path, bge)

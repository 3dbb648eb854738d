"""The image network in int8: how it is made, and that no processor's sums overflow in it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from product_search.encoders.embeddings import Matrix
from product_search.encoders.starter import network_pixels
from product_search.settings import ROOT
from product_search.training.starter.activations import Activation
from product_search.training.starter.images import open_image
from product_search.training.starter.int8 import agreement, quantise

STARTER = ROOT / "models" / "starter"
DRAWINGS = sorted((ROOT / "sample_data" / "images").glob("*.webp"))


@pytest.fixture(scope="module")
def pixels() -> Matrix:
    return network_pixels([open_image(path) for path in DRAWINGS[::20]])


@pytest.fixture(scope="module")
def made(pixels: Matrix, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("starter") / "image-int8.onnx"
    quantise(STARTER / "image.onnx", pixels, target)
    return target


def test_what_a_few_pictures_make_agrees_about_others(made: Path) -> None:
    found = agreement(made, STARTER / "image.onnx", DRAWINGS[7::20])
    assert found.mean >= 0.995
    assert found.least >= 0.985


def test_the_same_pictures_make_the_same_file(made: Path, pixels: Matrix, tmp_path: Path) -> None:
    quantise(STARTER / "image.onnx", pixels, tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == made.read_bytes()


def test_the_file_is_small_and_names_no_path_of_a_machine(made: Path) -> None:
    assert made.stat().st_size < 0.7 * (STARTER / "image.onnx").stat().st_size
    assert str(ROOT).encode() not in made.read_bytes()
    assert str(made.parent).encode() not in made.read_bytes()


def test_what_ships_is_made_so(made: Path) -> None:
    """The same layers with the same weights; only ranges are those of more pictures."""
    own, shipped = (weights(path) for path in (made, STARTER / "image-int8.onnx"))
    assert own.keys() == shipped.keys()
    # Dead channels have hardly any: their scales follow from the biases, and so from the ranges.
    assert all(np.mean(own[name] == shipped[name]) > 0.99 for name in own)


def weights(path: Path) -> dict[str, Matrix]:
    tensors = onnx.load(path).graph.initializer
    return {one.name: numpy_helper.to_array(one) for one in tensors if one.name.endswith("weights")}


@pytest.mark.parametrize("ships", [False, True])
def test_two_products_fit_into_sixteen_bits(made: Path, ships: bool) -> None:
    """Processors without VNNI add them in pairs; depthwise layers are added in 32 bits."""
    graph = onnx.load(STARTER / "image-int8.onnx" if ships else made).graph
    tensors = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
    clips = [node for node in graph.node if node.op_type == "Clip"]
    ends = {node.output[0]: int(tensors[node.input[2]]) for node in clips}
    pointwise = 0
    for node in graph.node:
        if node.op_type != "QLinearConv" or tensors[node.input[3]].shape[1] == 1:
            continue
        largest = ends.get(node.input[0], 255)
        levels = np.abs(tensors[node.input[3]].astype(np.int64)).reshape(-1)
        assert 2 * largest * levels.max() < 2**15, node.name
        pointwise += 1
    assert pointwise == 38


def test_rare_values_do_not_widen_a_grid() -> None:
    sample = np.append(np.linspace(0, 1, 1_000_000), 3).astype(np.float32)
    means = np.array([0.5])
    assert Activation(sample, means).grid(127).scale * 127 < 1.5
    even = Activation(np.linspace(-1, 3, 1_000, dtype=np.float32), means)
    grid = even.grid(255)
    assert even.is_negative
    assert grid.zero == 64
    assert grid.scale * 255 == pytest.approx(4)

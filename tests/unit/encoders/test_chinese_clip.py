"""Chinese-CLIP as ONNX graphs: what transformers computes, in float32 and near it in int8."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoTokenizer, ChineseCLIPImageProcessorPil, ChineseCLIPModel

from product_search.encoders.chinese_clip import ChineseClipEncoder
from product_search.encoders.embeddings import Matrix, normalised
from product_search.encoders.pixels import ImageProcessor
from product_search.encoders.precision import PRECISIONS, Precision
from product_search.encoders.torch_clip import open_towers
from product_search.errors import EncoderError
from product_search.settings import ROOT
from tests.unit.checkpoints import SIDE, as_bin, change_config, write_clip
from tests.unit.pictures import noise

TEXTS = ["红色双肩包", "a", "", "运动鞋 苹果", "蓝" * 60, "🎒𠮷", "Abc 123"]
SIZES = [(40, 30), (16, 16), (1, 1), (7, 90), (301, 17), (15, 16), (17, 33), (3, 2)]
IMAGES = [noise(size, seed) for seed, size in enumerate(SIZES)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clip"))


def by_transformers(folder: Path) -> tuple[Matrix, Matrix]:
    """Texts and images, one by one, as the published code embeds them."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    processor = ChineseCLIPImageProcessorPil.from_pretrained(folder)
    model = ChineseCLIPModel.from_pretrained(folder, dtype=torch.float32).eval()
    limit = model.config.text_config.max_position_embeddings
    texts, images = [], []
    with torch.inference_mode():
        for text in TEXTS:
            tokens = tokenizer(text, truncation=True, max_length=limit, return_tensors="pt")
            texts.append(model.get_text_features(**tokens).pooler_output)
        for image in IMAGES:
            pixels = processor(images=[image], return_tensors="pt")
            images.append(model.get_image_features(**pixels).pooler_output)
    return normalised(torch.cat(texts).numpy()), normalised(torch.cat(images).numpy())


def test_float32_is_what_transformers_computes(folder: Path) -> None:
    encoder = ChineseClipEncoder(folder)
    texts, images = by_transformers(folder)
    np.testing.assert_allclose(encoder.encode_texts(TEXTS), texts, atol=1e-5)
    np.testing.assert_allclose(encoder.encode_images(IMAGES), images, atol=1e-5)


def test_int8_is_near_it_and_not_the_same(folder: Path) -> None:
    encoder = ChineseClipEncoder(folder, precision="int8")
    exact = by_transformers(folder)
    for vectors, those in zip(
        (encoder.encode_texts(TEXTS), encoder.encode_images(IMAGES)), exact, strict=True
    ):
        cosines = (vectors * those).sum(axis=1)
        assert cosines.mean() >= 0.99
        assert cosines.min() >= 0.97
        assert not np.allclose(vectors, those, atol=1e-6)


def test_what_runs_on_a_gpu_are_the_same_towers(folder: Path) -> None:
    encoder = ChineseClipEncoder(folder)
    texts, images = open_towers(folder, "cpu")
    embedded = normalised(texts.embed(encoder.tokenise(TEXTS)))
    np.testing.assert_allclose(embedded, encoder.encode_texts(TEXTS), atol=1e-5)
    embedded = normalised(images.embed(encoder.pixels(IMAGES)))
    np.testing.assert_allclose(embedded, encoder.encode_images(IMAGES), atol=1e-5)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_vector_does_not_depend_on_the_batch(folder: Path, precision: Precision) -> None:
    encoder = ChineseClipEncoder(folder, precision=precision)
    pixels, tokens = encoder.pixels(IMAGES), encoder.tokenise(TEXTS)
    images = np.concatenate([encoder.embed_pixels([one]) for one in pixels])
    texts = np.concatenate([encoder.embed([one]) for one in tokens])
    assert (encoder.embed_pixels(pixels) * images).sum(axis=1).min() >= 0.9999
    assert (encoder.embed(tokens) * texts).sum(axis=1).min() >= 0.9999


def test_each_precision_has_a_fingerprint_of_its_own(folder: Path) -> None:
    prints = {ChineseClipEncoder(folder, precision=one).fingerprint for one in PRECISIONS}
    assert len(prints) == len(PRECISIONS)


def test_a_bin_checkpoint_embeds_as_its_safetensors_twin(folder: Path, tmp_path: Path) -> None:
    twin, encoder = ChineseClipEncoder(as_bin(write_clip(tmp_path))), ChineseClipEncoder(folder)
    np.testing.assert_array_equal(twin.encode_texts(TEXTS), encoder.encode_texts(TEXTS))
    np.testing.assert_array_equal(twin.encode_images(IMAGES), encoder.encode_images(IMAGES))


def test_on_a_cpu_neither_torch_nor_transformers_is_imported(folder: Path) -> None:
    script = f"""
import sys
from pathlib import Path
from product_search.encoders.chinese_clip import ChineseClipEncoder
ChineseClipEncoder(Path({str(folder)!r}), precision="int8").encode_texts(["红"])
print(*sys.modules)
"""
    command = [sys.executable, "-c", script]
    modules = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "product_search.encoders.vit" in modules.split()
    assert not {"torch", "transformers"} & set(modules.split())


SQUARE = {"height": SIDE, "width": SIDE}
PROCESSORS: list[dict[str, Any]] = [
    {"size": SQUARE, "do_center_crop": False},
    {"size": SQUARE, "crop_size": SQUARE},
    {"size": {"shortest_edge": SIDE}, "crop_size": SQUARE},
    {"size": {"shortest_edge": 11}, "crop_size": SIDE, "resample": 2},
    {"do_resize": False, "crop_size": SQUARE},
    {"size": SQUARE, "do_center_crop": False, "do_normalize": False},
    {"size": SQUARE, "do_center_crop": False, "do_rescale": False, "image_mean": [1.0, 2.0, 3.0]},
    {"size": SQUARE, "do_center_crop": False, "resample": 0, "rescale_factor": 0.00392},
]


@pytest.mark.parametrize("options", PROCESSORS)
def test_pixels_are_those_of_the_published_processor(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(options), "utf-8")
    published = ChineseCLIPImageProcessorPil.from_pretrained(tmp_path)
    processor = ImageProcessor.read(tmp_path, SIDE)
    for image in IMAGES:
        expected = published(images=[image], return_tensors="np")["pixel_values"][0]
        np.testing.assert_array_equal(processor.pixels(image), expected)


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"size": {"longest_edge": 16}}',
        '{"size": {"height": 8, "width": 8}, "do_center_crop": false}',
        '{"size": {"shortest_edge": 16}, "do_center_crop": false}',
        '{"resample": 99}',
    ],
)
def test_a_processor_that_can_not_be_used_is_told(folder: Path, tmp_path: Path, text: str) -> None:
    write_clip(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(text, "utf-8")
    with pytest.raises(EncoderError, match=r"preprocessor_config\.json"):
        ChineseClipEncoder(tmp_path)


def test_a_checkpoint_without_a_processor_is_told(tmp_path: Path) -> None:
    (write_clip(tmp_path) / "preprocessor_config.json").unlink()
    with pytest.raises(EncoderError, match=r"preprocessor_config\.json"):
        ChineseClipEncoder(tmp_path)


def test_a_network_of_another_kind_is_told(tmp_path: Path) -> None:
    write_clip(tmp_path)
    for part, key, value, told in (
        ("vision_config", "hidden_act", "relu", "relu"),
        ("vision_config", "patch_size", 4, "不符"),
        ("text_config", "hidden_act", "relu", "relu"),
    ):
        config = json.loads((tmp_path / "config.json").read_text("utf-8"))
        change_config(tmp_path, **{part: {**config[part], key: value}})
        with pytest.raises(EncoderError, match=told):
            ChineseClipEncoder(tmp_path)
        change_config(tmp_path, **{part: config[part]})


def test_a_tokenizer_is_a_vocabulary_alone_too(folder: Path, tmp_path: Path) -> None:
    write_clip(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    (tmp_path / "tokenizer_config.json").unlink()
    tokens = ChineseClipEncoder(tmp_path).tokenise(TEXTS)
    for one, other in zip(tokens, ChineseClipEncoder(folder).tokenise(TEXTS), strict=True):
        assert one.tolist() == other.tolist()


def test_no_images_are_an_empty_matrix(folder: Path) -> None:
    images: list[Image.Image] = []
    assert ChineseClipEncoder(folder).encode_images(images).shape == (0, 16)

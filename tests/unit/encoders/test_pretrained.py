"""BGE and Chinese-CLIP, on tiny checkpoints of the classes that the real weights have."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file, save_file

from product_search.encoders.bge import QUERY_INSTRUCTION, BgeEncoder
from product_search.encoders.checkpoints import has_weights
from product_search.encoders.chinese_clip import ChineseClipEncoder
from product_search.encoders.embeddings import Matrix
from product_search.errors import EncoderError
from tests.unit.checkpoints import DIM, LIMIT, as_bin, change_config, write_bge, write_clip
from tests.unit.pictures import noise

TEXTS = ["红色双肩包", "a", "", "运动鞋 苹果", "蓝" * 30, "🎒𠮷", "手机壳 abc 123"]
IMAGES = [
    noise((40, 30), 1),
    noise((16, 16), 2),
    noise((1, 1), 3),
    noise((7, 90), 4),
    Image.new("RGB", (20, 20), "red"),
]


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


@pytest.fixture
def copy(tmp_path: Path) -> Callable[[Path], Path]:
    """A copy of a checkpoint that a test may change."""
    return lambda folder: Path(shutil.copytree(folder, tmp_path / f"copy-of-{folder.name}"))


@pytest.fixture(params=["queries", "documents", "clip texts", "clip images"])
def encoding(
    request: pytest.FixtureRequest, bge: BgeEncoder, clip: ChineseClipEncoder
) -> tuple[Callable[[list[object]], Matrix], list[object]]:
    """Each way to encode, and things to encode with it."""
    ways = {
        "queries": (bge.encode_queries, TEXTS),
        "documents": (bge.encode_documents, TEXTS),
        "clip texts": (clip.encode_texts, TEXTS),
        "clip images": (clip.encode_images, IMAGES),
    }
    return ways[request.param]  # type: ignore[return-value]


Encoding = tuple[Callable[[list[object]], Matrix], list[object]]


def test_one_row_of_length_one_comes_for_each_item(encoding: Encoding) -> None:
    encode, items = encoding
    vectors = encode(items)
    assert vectors.shape == (len(items), DIM)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_one_by_one_is_as_in_a_batch_whatever_the_lengths(encoding: Encoding) -> None:
    encode, items = encoding
    alone = np.concatenate([encode([item]) for item in items])
    np.testing.assert_allclose(encode(items), alone, atol=1e-4)


def test_rows_come_in_the_order_of_the_items(encoding: Encoding) -> None:
    encode, items = encoding
    np.testing.assert_allclose(encode(items[::-1]), encode(items)[::-1], atol=1e-4)


def test_different_items_have_different_rows(encoding: Encoding) -> None:
    encode, items = encoding
    vectors = encode(items)
    alike = np.abs(vectors[:, None] - vectors[None]).max(axis=2) < 1e-6
    assert alike.sum() == len(items)


def test_nothing_in_is_an_empty_matrix_out(encoding: Encoding) -> None:
    encode, _ = encoding
    assert encode([]).shape == (0, DIM)
    assert encode([]).dtype == np.float32


def test_only_queries_get_the_instruction(bge: BgeEncoder) -> None:
    query, document = bge.encode_queries(["红包"]), bge.encode_documents(["红包"])
    assert not np.allclose(query, document, atol=1e-4)
    instructed = bge.encode_documents([QUERY_INSTRUCTION + "红包"])
    np.testing.assert_allclose(query, instructed, atol=1e-6)


def test_chinese_clip_texts_get_no_instruction(clip: ChineseClipEncoder) -> None:
    assert not np.allclose(
        clip.encode_texts(["红包"]), clip.encode_texts([QUERY_INSTRUCTION + "红包"]), atol=1e-4
    )


@pytest.mark.parametrize("length", [LIMIT - 2, LIMIT, 10 * LIMIT])
def test_a_text_is_cut_at_the_models_limit(
    bge: BgeEncoder, clip: ChineseClipEncoder, length: int
) -> None:
    fits = "红" * (LIMIT - 2)  # the first and the last position are the tokenizer's own
    for encode in (bge.encode_documents, clip.encode_texts):
        np.testing.assert_allclose(encode(["红" * length]), encode([fits]), atol=1e-5)
        assert not np.allclose(encode([fits]), encode([fits[1:]]), atol=1e-6)


def test_a_text_and_an_image_share_a_space(clip: ChineseClipEncoder) -> None:
    assert clip.encode_texts(["红"]).shape == clip.encode_images([IMAGES[0]]).shape == (1, clip.dim)


def test_the_fingerprint_is_the_same_for_the_same_weights(
    bge: BgeEncoder, bge_folder: Path, copy: Callable[[Path], Path]
) -> None:
    assert BgeEncoder(copy(bge_folder)).fingerprint == bge.fingerprint


def test_the_fingerprint_changes_with_the_weights(tmp_path: Path, bge: BgeEncoder) -> None:
    assert BgeEncoder(write_bge(tmp_path, seed=1)).fingerprint != bge.fingerprint


def test_the_fingerprint_changes_with_the_image_processor(
    clip: ChineseClipEncoder, clip_folder: Path, copy: Callable[[Path], Path]
) -> None:
    folder = copy(clip_folder)
    path = folder / "preprocessor_config.json"
    path.write_text(
        path.read_text("utf-8").replace('"do_normalize": true', '"do_normalize": false')
    )
    assert ChineseClipEncoder(folder).fingerprint != clip.fingerprint


def test_a_bin_checkpoint_embeds_as_its_safetensors_twin(
    bge: BgeEncoder, bge_folder: Path, copy: Callable[[Path], Path]
) -> None:
    twin = BgeEncoder(as_bin(copy(bge_folder)))
    np.testing.assert_allclose(twin.encode_queries(TEXTS), bge.encode_queries(TEXTS), atol=1e-6)


class Bomb:
    """Runs code when it is unpickled without care."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        return Path.touch, (self.target,)


def test_a_bin_checkpoint_with_code_in_it_is_refused_and_not_run(
    bge_folder: Path, copy: Callable[[Path], Path], tmp_path: Path
) -> None:
    folder = as_bin(copy(bge_folder), Bomb(tmp_path / "it-ran"))
    with pytest.raises((EncoderError, pickle.UnpicklingError)):
        BgeEncoder(folder)
    assert not (tmp_path / "it-ran").exists()


@pytest.mark.parametrize("missing", ["model.safetensors", "config.json"])
def test_missing_weights_are_said_to_be_missing(
    bge_folder: Path, clip_folder: Path, copy: Callable[[Path], Path], missing: str
) -> None:
    for kind, folder in ((BgeEncoder, copy(bge_folder)), (ChineseClipEncoder, copy(clip_folder))):
        (folder / missing).unlink()
        assert not has_weights(folder)
        with pytest.raises(EncoderError) as caught:
            kind(folder)
        assert str(folder) in str(caught.value)


def test_a_folder_that_is_not_there_is_said_to_be_missing(tmp_path: Path) -> None:
    for kind in (BgeEncoder, ChineseClipEncoder):
        with pytest.raises(EncoderError):
            kind(tmp_path / "nowhere")


def cut_short(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1_000])


def without_a_tensor(folder: Path) -> None:
    weights = folder / "model.safetensors"
    tensors = load_file(weights)
    del tensors["encoder.layer.1.output.dense.weight"]
    save_file(tensors, weights, {"format": "pt"})


def of_another_width(folder: Path) -> None:
    change_config(folder, max_position_embeddings=LIMIT // 2)


@pytest.mark.parametrize("damage", [cut_short, without_a_tensor, of_another_width])
def test_weights_that_can_not_be_used_are_said_to_be_so(
    bge_folder: Path, copy: Callable[[Path], Path], damage: Callable[[Path], None]
) -> None:
    folder = copy(bge_folder)
    damage(folder)
    with pytest.raises(EncoderError):
        BgeEncoder(folder)


def test_a_download_that_was_cut_short_does_not_count(clip_folder: Path, tmp_path: Path) -> None:
    shutil.copy(clip_folder / "config.json", tmp_path)
    assert not has_weights(tmp_path)

"""Files of an encoder: whether its checkpoint is whole, and the fingerprint of its contents."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from product_search.errors import EncoderError
from product_search.images.decoding import VERSIONS

_FLOAT_ONLY = "FLOAT_ONLY"  # a file in a checkpoint's folder


def has_weights(folder: Path) -> bool:
    """Return whether the folder holds a whole Hugging Face checkpoint."""
    return (folder / "config.json").is_file() and bool(weight_files(folder))


def allows_int8(folder: Path) -> bool:
    """Return whether nothing says that the checkpoint's int8 is too far from its float32."""
    return not (folder / _FLOAT_ONLY).exists()


def set_float_only(folder: Path, reason: str | None) -> None:
    """Write into the folder why int8 is not for its checkpoint, or that nothing speaks against it.

    Raises:
        EncoderError: the folder can't be written to.
    """
    try:
        if reason is None:
            (folder / _FLOAT_ONLY).unlink(missing_ok=True)
        else:
            (folder / _FLOAT_ONLY).write_text(f"{reason}\n", "utf-8")
    except OSError as error:
        raise EncoderError(f"无法写入 {folder / _FLOAT_ONLY}：{error}") from error


def require_weights(folder: Path) -> None:
    """Raise EncoderError, which says how to get the weights, where the folder has none."""
    if not has_weights(folder):
        raise EncoderError(
            f"{folder} 里没有模型权重：请先运行 python -m product_search.manage download-models"
        )


def checkpoint_files(folder: Path) -> list[Path]:
    """Return the files of a checkpoint that decide its embeddings."""
    others = ("config.json", "preprocessor_config.json", "tokenizer.json", "vocab.txt")
    return weight_files(folder) + [folder / name for name in others if (folder / name).is_file()]


def image_recipe(recipe: str, image_version: int) -> str:
    """Return an image encoder's recipe together with the version of the decoding before it."""
    return recipe if image_version == VERSIONS[-1] else f"{recipe}:images {image_version}"


def fingerprint(recipe: str, files: Sequence[Path]) -> str:
    """Return the SHA-256 of the recipe (what the code does) and the files (what it does it with).

    Collections are named by it: a change makes every collection that exists another encoder's.
    """
    digest = hashlib.sha256(recipe.encode())
    for path in files:
        with path.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


def weight_files(folder: Path) -> list[Path]:
    """Return the files that hold the checkpoint's tensors."""
    return sorted(folder.glob("*.safetensors")) or sorted(folder.glob("pytorch_model*.bin"))

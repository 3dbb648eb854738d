"""Tiny checkpoints of the real classes, with random weights and a vocabulary of our own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from transformers import (
    BertConfig,
    BertModel,
    BertTokenizer,
    ChineseCLIPConfig,
    ChineseCLIPImageProcessorPil,
    ChineseCLIPModel,
)

LIMIT = 40  # positions of the text models: longer texts are cut
DIM = 16
SIDE = 16  # pixels of the image tower
CHARACTERS = (
    "为这个句子生成表示以用于检索相关文章：红蓝绿色双肩包书运动鞋苹果手机壳abcdefg0123456789"
)
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *dict.fromkeys(CHARACTERS)]
_TEXT: dict[str, Any] = {
    "vocab_size": len(WORDS),
    "hidden_size": DIM,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": LIMIT,
}


def write_tokenizer(folder: Path) -> None:
    """A BERT tokenizer over single characters, saved with its vocab.txt."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(WORDS), "utf-8")
    BertTokenizer(vocab={word: place for place, word in enumerate(WORDS)}).save_pretrained(folder)


def write_bge(folder: Path, seed: int = 0) -> Path:
    """A BertModel checkpoint as BGE's."""
    torch.manual_seed(seed)
    write_tokenizer(folder)
    BertModel(BertConfig(**_TEXT), add_pooling_layer=False).save_pretrained(folder)
    return folder


def write_clip(folder: Path, seed: int = 0) -> Path:
    """A ChineseCLIPModel checkpoint with its image processor."""
    torch.manual_seed(seed)
    write_tokenizer(folder)
    vision = {
        "hidden_size": DIM,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "image_size": SIDE,
        "patch_size": 8,
    }
    config = ChineseCLIPConfig(text_config=_TEXT, vision_config=vision, projection_dim=DIM)
    ChineseCLIPModel(config).save_pretrained(folder)
    size = {"height": SIDE, "width": SIDE}
    ChineseCLIPImageProcessorPil(size=size, crop_size=size).save_pretrained(folder)
    return folder


def as_bin(folder: Path, extra: object = None) -> Path:
    """The checkpoint's weights as pytorch_model.bin, a pickle, with `extra` smuggled in."""
    from safetensors.torch import load_file

    weights = folder / "model.safetensors"
    tensors: dict[str, Any] = dict(load_file(weights))
    if extra is not None:
        tensors["extra"] = extra
    torch.save(tensors, folder / "pytorch_model.bin")
    weights.unlink()
    return folder


def change_config(folder: Path, **values: object) -> None:
    """Overwrite entries of config.json."""
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | values), "utf-8")

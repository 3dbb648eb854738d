"""Tiny pipelines of the real classes, with random weights and a vocabulary of our own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import Regex, Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3Model

WORDS = ["<pad>", "<unk>", *dict.fromkeys("一二三红蓝绿色白底主图场景苹果双肩包雨伞桌子上的")]
_DIM = 16  # of the text encoder
_CHANNELS = 4  # of the latents
# As Qwen3's: only what the user says.
_CHAT = "{% for message in messages %}{{ message['content'] }}{% endfor %}"


def write_tokenizer(folder: Path) -> None:
    """Characters are words; the others are one unknown."""
    words = Tokenizer(
        models.WordLevel({word: place for place, word in enumerate(WORDS)}, unk_token="<unk>")
    )
    words.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", unk_token="<unk>", chat_template=_CHAT
    )
    tokenizer.save_pretrained(folder)


def tiny_vae() -> Any:
    """Latents of an eighth of the picture's side."""
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=(8, 8, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=_CHANNELS,
        norm_num_groups=2,
        mid_block_add_attention=False,
        scaling_factor=0.3611,
        shift_factor=0.1159,
        use_quant_conv=False,
        use_post_quant_conv=False,
    )


def _transformer() -> Any:
    from diffusers import ZImageTransformer2DModel

    transformer = ZImageTransformer2DModel(
        in_channels=_CHANNELS,
        dim=32,
        n_layers=1,
        n_refiner_layers=1,
        n_heads=2,
        n_kv_heads=2,
        cap_feat_dim=_DIM,
        axes_dims=[8, 4, 4],
        axes_lens=[1024, 64, 64],
    )
    with torch.no_grad():  # made of whatever was in memory: two runs would differ
        transformer.x_pad_token.fill_(0.5)
        transformer.cap_pad_token.fill_(0.5)
    return transformer


def write_pipeline(folder: Path) -> Path:
    """A Z-Image pipeline, of the classes of the default model; a second or so."""
    from diffusers import FlowMatchEulerDiscreteScheduler, ZImagePipeline

    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=len(WORDS),
        hidden_size=_DIM,
        intermediate_size=_DIM,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=8,
        max_position_embeddings=512,
    )
    write_tokenizer(folder / "tokenizer")
    ZImagePipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=tiny_vae(),
        text_encoder=Qwen3Model(config),
        tokenizer=PreTrainedTokenizerFast.from_pretrained(folder / "tokenizer"),
        transformer=_transformer(),
    ).save_pretrained(folder)
    return folder

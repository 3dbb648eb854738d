"""Tiny pipelines of the real classes, with random weights and a vocabulary of our own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderKLFlux2,
    AutoencoderKLQwenImage,
    FlowMatchEulerDiscreteScheduler,
    Flux2KleinPipeline,
    Flux2Transformer2DModel,
    PNDMScheduler,
    QwenImagePipeline,
    QwenImageTransformer2DModel,
    StableDiffusionPipeline,
    UNet2DConditionModel,
    ZImagePipeline,
    ZImageTransformer2DModel,
)
from diffusers.pipelines.stable_diffusion import StableDiffusionSafetyChecker
from tokenizers import Regex, Tokenizer, models, pre_tokenizers
from transformers import (
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPTextConfig,
    CLIPTextModel,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen3Config,
    Qwen3ForCausalLM,
    Qwen3Model,
)

WORDS = ["<pad>", "<unk>", *dict.fromkeys("一二三红蓝绿色白底主图场景苹果双肩包雨伞桌子上的")]
_DIM = 16  # of the text encoders
_CHANNELS = 4  # of the latents
# As Qwen3's, with nothing around what the user says.
_CHAT = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
_TEXT: dict[str, Any] = {
    "vocab_size": len(WORDS),
    "hidden_size": _DIM,
    "intermediate_size": _DIM,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 1024,
    "pad_token_id": 0,
    "bos_token_id": 0,
    "eos_token_id": 0,
}
_VAE: dict[str, Any] = {  # latents of an eighth of the image's side
    "block_out_channels": (8, 8, 8, 8),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 1,
    "latent_channels": _CHANNELS,
    "norm_num_groups": 2,
    "mid_block_add_attention": False,
}


def tokenizer(limit: int = 1024) -> PreTrainedTokenizerFast:
    """Characters are words; the others are one unknown."""
    words = Tokenizer(
        models.WordLevel({word: place for place, word in enumerate(WORDS)}, unk_token="<unk>")
    )
    words.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    return PreTrainedTokenizerFast(
        tokenizer_object=words,
        pad_token="<pad>",
        unk_token="<unk>",
        chat_template=_CHAT,
        model_max_length=limit,
    )


def write_pipeline(folder: Path) -> Path:
    """Z-Image, as the default model; takes a second or so."""
    torch.manual_seed(0)
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
    with torch.no_grad():  # made of whatever was in memory
        transformer.x_pad_token.fill_(0.5)
        transformer.cap_pad_token.fill_(0.5)
    ZImagePipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=AutoencoderKL(**_VAE, scaling_factor=0.3611, shift_factor=0.1159),
        text_encoder=Qwen3Model(Qwen3Config(**_TEXT)),
        tokenizer=tokenizer(),
        transformer=transformer,
    ).save_pretrained(folder)
    return folder


def write_klein_pipeline(folder: Path) -> Path:
    """FLUX.2 klein, as the light model: it reads the text encoder's layers 9, 18 and 27."""
    torch.manual_seed(0)
    Flux2KleinPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        vae=AutoencoderKLFlux2(**_VAE),
        text_encoder=Qwen3ForCausalLM(Qwen3Config(**_TEXT | {"num_hidden_layers": 28})),
        tokenizer=tokenizer(),
        transformer=Flux2Transformer2DModel(
            in_channels=4 * _CHANNELS,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=3 * _DIM,
            axes_dims_rope=(4, 4, 4, 4),
            guidance_embeds=False,
        ),
        is_distilled=True,
    ).save_pretrained(folder)
    return folder


def write_qwen_pipeline(folder: Path) -> Path:
    """Qwen-Image, as the strong model."""
    torch.manual_seed(0)
    rope = {"mrope_section": [1, 1, 2], "rope_type": "default", "rope_theta": 1e6}
    vision = {
        "depth": 1,
        "hidden_size": _DIM,
        "intermediate_size": _DIM,
        "num_heads": 2,
        "out_hidden_size": _DIM,
    }
    text = {**_TEXT, "rope_parameters": rope, "rope_scaling": rope}
    QwenImagePipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        vae=AutoencoderKLQwenImage(
            base_dim=8,
            z_dim=_CHANNELS,
            dim_mult=[1, 1, 1, 1],
            num_res_blocks=1,
            temperal_downsample=[False, True, True],
            latents_mean=[0.1] * _CHANNELS,
            latents_std=[1.5] * _CHANNELS,
        ),
        text_encoder=Qwen2_5_VLForConditionalGeneration(
            Qwen2_5_VLConfig(text_config=text, vision_config=vision)
        ),
        tokenizer=tokenizer(),
        transformer=QwenImageTransformer2DModel(
            in_channels=4 * _CHANNELS,
            out_channels=_CHANNELS,
            num_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=_DIM,
            axes_dims_rope=(8, 4, 4),
        ),
    ).save_pretrained(folder)
    return folder


def write_checked_pipeline(folder: Path, *, finds: bool) -> Path:
    """Stable Diffusion with its safety check, which finds something in every image or in none."""
    torch.manual_seed(0)
    text = CLIPTextConfig(
        vocab_size=len(WORDS),
        hidden_size=_DIM,
        intermediate_size=_DIM,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=32,
        pad_token_id=0,
        bos_token_id=0,
        eos_token_id=0,
    )
    vision = {
        "hidden_size": _DIM,
        "intermediate_size": _DIM,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 16,
        "patch_size": 8,
    }
    checker = StableDiffusionSafetyChecker(
        CLIPConfig(text_config=text.to_dict(), vision_config=vision, projection_dim=_DIM)
    )
    checker.concept_embeds_weights.data.fill_(-2.0 if finds else 2.0)  # of a cosine
    side = {"height": 16, "width": 16}
    StableDiffusionPipeline(
        vae=AutoencoderKL(**_VAE),
        text_encoder=CLIPTextModel(text),
        tokenizer=tokenizer(limit=32),
        unet=UNet2DConditionModel(
            in_channels=_CHANNELS,
            out_channels=_CHANNELS,
            block_out_channels=(8, 8),
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            layers_per_block=1,
            norm_num_groups=2,
            attention_head_dim=2,
            cross_attention_dim=_DIM,
        ),
        scheduler=PNDMScheduler(steps_offset=1, skip_prk_steps=True, set_alpha_to_one=False),
        safety_checker=checker,
        feature_extractor=CLIPImageProcessorPil(size=side, crop_size=side),
    ).save_pretrained(folder)
    return folder

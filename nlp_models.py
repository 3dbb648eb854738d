"""The model room: text and image encoders behind two Protocols, and the choice among them."""

from __future__ import annotations

import hashlib
import logging
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Literal, Protocol, TypeVar

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors import SafetensorError
from safetensors.numpy import load_file
from transformers import (
    AutoTokenizer,
    BertModel,
    ChineseCLIPImageProcessorPil,
    ChineseCLIPModel,
)
from transformers.utils.logging import disable_progress_bar

from product_search.encoders.colour import COLOURS, RECIPE, image_colours, text_colours
from product_search.errors import StartError

log = logging.getLogger(__name__)

Matrix = NDArray[np.float32]
Device = Literal["auto", "cpu", "cuda"]
EncoderChoice = Literal["auto", "starter", "chinese-clip"]
Item = TypeVar("Item")

# BAAI's model card: put before a short query, never before a document.
BGE_QUERY_INSTRUCTION = "为这个句子生成表示以用于检索相关文章："
STARTER_IMAGE_SIDE = 224
# Share of colour in the squared length of the starter's vectors (measured: docs/decisions/0005).
IMAGE_COLOUR = 0.08
TEXT_COLOUR = 0.3
# Files of a snapshot that other frameworks read.
_NOT_NEEDED = ["*.msgpack", "*.h5", "*.onnx", "*.ot", "*.pt", "*.md", "examples/*"]


class EncoderError(StartError):
    """An encoder's weights are missing or can't be used; the message says where and what to do."""


class TextEncoder(Protocol):
    """Text to embedding, for text-to-text search."""

    fingerprint: str
    dim: int

    def encode_queries(self, texts: Sequence[str]) -> Matrix:
        """Float32 (n, dim), L2-normalised; one row per text, order kept."""
        ...

    def encode_documents(self, texts: Sequence[str]) -> Matrix:
        """Float32 (n, dim), L2-normalised; one row per text, order kept."""
        ...


class ImageTextEncoder(Protocol):
    """Texts and images into one space, so that each can be compared with the other."""

    fingerprint: str
    dim: int

    def encode_texts(self, texts: Sequence[str]) -> Matrix:
        """Float32 (n, dim), L2-normalised; one row per text, order kept."""
        ...

    def encode_images(self, images: Sequence[Image.Image]) -> Matrix:
        """Float32 (n, dim), L2-normalised; one row per RGB image, order kept."""
        ...


@dataclass(frozen=True)
class EncoderPair:
    """The two encoders that a deployment indexes and searches with."""

    name: str
    text: TextEncoder
    image_text: ImageTextEncoder
    device: str

    def encode_products(
        self, documents: Sequence[str], titles: Sequence[str]
    ) -> tuple[Matrix, Matrix]:
        """Documents for the text encoder, titles for the image-text encoder."""
        if not isinstance(self.image_text, StarterEncoder):
            return self.text.encode_documents(documents), self.image_text.encode_texts(titles)
        # Its texts are made from the same BGE embeddings, the costly part: each text once.
        texts = {text: row for row, text in enumerate(dict.fromkeys([*documents, *titles]))}
        embedded = self.text.encode_documents(list(texts))
        of_titles = embedded[[texts[title] for title in titles]]
        of_documents = embedded[[texts[document] for document in documents]]
        return of_documents, self.image_text.from_documents(titles, of_titles)

    def encode_search(self, queries: Sequence[str], texts: Sequence[str]) -> tuple[Matrix, Matrix]:
        """Queries for the text encoder, texts for the image-text encoder."""
        if not isinstance(self.image_text, StarterEncoder):
            return self.text.encode_queries(queries), self.image_text.encode_texts(texts)
        asked = [BGE_QUERY_INSTRUCTION + query for query in queries]
        both = self.text.encode_documents([*asked, *texts])  # all in one go
        of_texts = self.image_text.from_documents(texts, both[len(asked) :])
        return both[: len(asked)], of_texts

    @property
    def fingerprint(self) -> str:
        """Twelve hex digits that change whenever either encoder would embed differently."""
        both = f"{self.text.fingerprint}:{self.image_text.fingerprint}"
        return hashlib.sha256(both.encode()).hexdigest()[:12]


class BgeEncoder:
    """BAAI/bge-small-zh-v1.5: the CLS state of a BERT, with an instruction before queries."""

    def __init__(self, folder: Path, device: str = "cpu", batch_size: int = 32) -> None:
        _require_weights(folder)
        self._tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        self._model: Any = _load(BertModel, folder, device, add_pooling_layer=False)
        self._device = device
        self._batch_size = batch_size
        self._limit = int(self._model.config.max_position_embeddings)
        self.dim = int(self._model.config.hidden_size)
        recipe = f"bge:lower:cls:{BGE_QUERY_INSTRUCTION}"
        self.fingerprint = _fingerprint(recipe, _model_files(folder))

    def encode_queries(self, texts: Sequence[str]) -> Matrix:
        """Float32 (n, dim), L2-normalised, of the instruction followed by each text."""
        return self.encode_documents([BGE_QUERY_INSTRUCTION + text for text in texts])

    def encode_documents(self, texts: Sequence[str]) -> Matrix:
        """Float32 (n, dim), L2-normalised; texts are cut at the model's 512 tokens."""
        return _in_batches(texts, self._batch_size, self.dim, self._encode)

    @torch.inference_mode()
    def _encode(self, texts: Sequence[str]) -> Matrix:
        # Its vocabulary is lower case, and not every copy of its tokenizer knows that: to one that
        # does not, GodMorgon and XR-200 are the same unknown word.
        lower = [text.lower() for text in texts]
        tokens = _tokenise(self._tokenizer, lower, self._limit, self._device)
        return _numpy(self._model(**tokens).last_hidden_state[:, 0])


class ChineseClipEncoder:
    """OFA-Sys Chinese-CLIP (AI-ModelScope/chinese-clip-vit-base-patch16), from a local folder."""

    def __init__(self, folder: Path, device: str = "cpu", batch_size: int = 32) -> None:
        _require_weights(folder)
        self._tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        self._processor: Any = ChineseCLIPImageProcessorPil.from_pretrained(
            folder, local_files_only=True
        )
        self._model: Any = _load(ChineseCLIPModel, folder, device)
        self._device = device
        self._batch_size = batch_size
        self._limit = int(self._model.config.text_config.max_position_embeddings)
        self.dim = int(self._model.config.projection_dim)
        self.fingerprint = _fingerprint("chinese-clip:pooled", _model_files(folder))

    def encode_texts(self, texts: Sequence[str]) -> Matrix:
        """Float32 (n, dim), L2-normalised; texts are cut at the text tower's position limit."""
        return _in_batches(texts, self._batch_size, self.dim, self._encode_texts)

    def encode_images(self, images: Sequence[Image.Image]) -> Matrix:
        """Float32 (n, dim), L2-normalised, of RGB images of any size."""
        return _in_batches(images, self._batch_size, self.dim, self._encode_images)

    @torch.inference_mode()
    def _encode_texts(self, texts: Sequence[str]) -> Matrix:
        tokens = _tokenise(self._tokenizer, texts, self._limit, self._device)
        return _numpy(self._model.get_text_features(**tokens).pooler_output)

    @torch.inference_mode()
    def _encode_images(self, images: Sequence[Image.Image]) -> Matrix:
        pixels = self._processor(images=list(images), return_tensors="pt")["pixel_values"]
        pixels = pixels.to(self._device, self._model.dtype)
        return _numpy(self._model.get_image_features(pixel_values=pixels).pooler_output)


class StarterEncoder:
    """EfficientNet-Lite0, half of it retrained into BGE's space; the text side is BGE itself.

    A vector has two parts: what a thing is, and the colours that an image shows or a text names
    (models/README.md says how both were made). A text that names no colour asks for none.
    """

    def __init__(self, folder: Path, bge: BgeEncoder, batch_size: int = 16) -> None:
        network, texts = folder / "image.onnx", folder / "text.safetensors"
        for path in (network, texts):
            if not path.is_file():
                raise EncoderError(f"缺少起步模型文件 {path}：请重新克隆仓库")
        self._session = onnxruntime.InferenceSession(network, providers=["CPUExecutionProvider"])
        tensors = load_file(texts)
        self._mean, self._turn, self._colours = (tensors[n] for n in ("mean", "turn", "colours"))
        self._bge = bge
        self._batch_size = batch_size
        self.dim = self._turn.shape[1] + len(COLOURS)
        shares = f"{STARTER_IMAGE_SIDE}:{IMAGE_COLOUR}:{TEXT_COLOUR}"
        recipe = f"starter:{shares}:{RECIPE}:{bge.fingerprint}"
        self.fingerprint = _fingerprint(recipe, [network, texts])

    def encode_texts(self, texts: Sequence[str]) -> Matrix:
        """Float32 (n, dim), L2-normalised."""
        return self.from_documents(texts, self._bge.encode_documents(texts))

    def from_documents(self, texts: Sequence[str], documents: Matrix) -> Matrix:
        """Of texts whose BGE document embeddings (n, d) are known."""
        things = _normalised((documents - self._mean) @ self._turn)
        return _joined(things, text_colours(texts), TEXT_COLOUR)

    def encode_images(self, images: Sequence[Image.Image]) -> Matrix:
        """Float32 (n, dim), L2-normalised, of RGB images of any size."""
        return _in_batches(images, self._batch_size, self.dim, self._encode_images)

    def _encode_images(self, images: Sequence[Image.Image]) -> Matrix:
        pixels = starter_pixels(images)
        things, attention = self._session.run(["embedding", "attention"], {"pixels": pixels})
        colours = image_colours(_reduced(pixels), attention, self._colours)
        return _joined(_normalised(things), colours, IMAGE_COLOUR)


def starter_pixels(images: Sequence[Image.Image]) -> Matrix:
    """RGB images -> float32 (n, 3, 224, 224), squeezed to a square, as EfficientNet-Lite wants."""
    size = (STARTER_IMAGE_SIDE, STARTER_IMAGE_SIDE)
    pixels = [np.asarray(image.resize(size, Image.Resampling.BICUBIC)) for image in images]
    scaled = (np.stack(pixels).astype(np.float32) - 127.0) / 128.0
    return np.ascontiguousarray(scaled.transpose(0, 3, 1, 2))


def _reduced(pixels: Matrix) -> Matrix:
    """The network's pixels (n, 3, side, side) -> (n, side / 4, side / 4, 3) in 0 to 255."""
    count, channels, side, _ = pixels.shape
    means = pixels.reshape(count, channels, side // 4, 4, side // 4, 4).mean(axis=(3, 5))
    return np.asarray(means.transpose(0, 2, 3, 1) * 128 + 127, np.float32)


def has_weights(folder: Path) -> bool:
    """Whether the folder holds a whole Hugging Face checkpoint."""
    return (folder / "config.json").is_file() and bool(_weights(folder))


def resolve_device(device: Device) -> str:
    """`auto` is CUDA where PyTorch sees a GPU, else the CPU."""
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise EncoderError("PRODUCT_SEARCH_DEVICE=cuda，但 PyTorch 没有可用的 CUDA")
    return device


def resolve_choice(choice: EncoderChoice, clip: Path) -> EncoderChoice:
    """`auto` is Chinese-CLIP where its weights are on disk, else the starter."""
    if choice == "auto":
        return "chinese-clip" if has_weights(clip) else "starter"
    return choice


def open_encoders(
    choice: EncoderChoice, *, clip: Path, bge: Path, starter: Path, device: Device = "auto"
) -> EncoderPair:
    """Load the pair that `choice` names; `auto` is Chinese-CLIP where its weights are on disk.

    Raises:
        EncoderError: the weights that `choice` needs are not there.
    """
    where = resolve_device(device)
    text = BgeEncoder(bge, where)
    if resolve_choice(choice, clip) == "starter":
        return EncoderPair("starter", text, StarterEncoder(starter, text), where)
    return EncoderPair("chinese-clip", text, ChineseClipEncoder(clip, where), where)


def download_model(
    model_id: str,
    revision: str,
    target: Path,
    *,
    files: Sequence[str] | None = None,
    is_whole: Callable[[Path], bool] = has_weights,
) -> None:
    """Fetch a ModelScope snapshot into `target`, which appears only once it is whole.

    `files` are patterns of what is fetched; by default all that is not for other frameworks.
    A target that holds this revision already is left alone. Progress bars are ModelScope's own;
    an interrupted download is resumed by the next call.

    Raises:
        EncoderError: the hub can't be reached, or has no such id, revision or weights.
    """
    from modelscope import snapshot_download  # takes seconds to import; only this needs it
    from modelscope.hub.errors import HubError

    marker = target / "REVISION"
    is_there = marker.is_file() and marker.read_text() == f"{model_id} {revision}"
    if is_there and is_whole(target):
        return
    partial = target.with_name(target.name + ".partial")
    which = {"allow_patterns": list(files)} if files else {"ignore_patterns": _NOT_NEEDED}
    try:
        snapshot_download(model_id, revision=revision, local_dir=str(partial), **which)
    except (HubError, OSError) as error:
        raise EncoderError(f"无法下载 {model_id}（{revision}）：{error}") from error
    if not is_whole(partial):
        raise EncoderError(f"{model_id} 的快照里没有可用的权重：{partial}")
    if target.exists():
        shutil.rmtree(target)
    (partial / marker.name).write_text(f"{model_id} {revision}")
    partial.rename(target)


def _require_weights(folder: Path) -> None:
    if not has_weights(folder):
        raise EncoderError(
            f"{folder} 里没有模型权重：请先运行 python -m product_search.manage download-models"
        )


def _load(kind: Any, folder: Path, device: str, **options: Any) -> Any:
    """A transformers model in evaluation mode: fp16 on CUDA, float32 on the CPU."""
    disable_progress_bar()  # of a second's work, amid the log
    dtype = torch.float16 if device == "cuda" else torch.float32
    # weights_only: a .bin checkpoint is read as tensors, never as pickled objects.
    try:
        model, loading = kind.from_pretrained(
            folder,
            dtype=dtype,
            local_files_only=True,
            weights_only=True,
            output_loading_info=True,
            **options,
        )
    except (OSError, ValueError, RuntimeError, SafetensorError, UnpicklingError) as error:
        raise EncoderError(f"{folder} 里的模型权重无法读取：{error}") from error
    if loading["missing_keys"]:
        # transformers fills them with random numbers, and says so in a log line.
        raise EncoderError(f"{folder} 里的模型权重不完整：缺少 {sorted(loading['missing_keys'])}")
    return model.to(device).eval()


def _tokenise(tokenizer: Any, texts: Sequence[str], limit: int, device: str) -> Any:
    return tokenizer(
        list(texts), padding=True, truncation=True, max_length=limit, return_tensors="pt"
    ).to(device)


def _numpy(vectors: torch.Tensor) -> Matrix:
    return np.asarray(vectors.float().cpu().numpy(), np.float32)


def _normalised(vectors: Matrix) -> Matrix:
    """Rows scaled to length 1; a zero row stays zero."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(norms, 1e-12), np.float32)


def _joined(things: Matrix, colours: Matrix, share: float) -> Matrix:
    """Unit rows of both, side by side; the second has this share of a row's squared length."""
    return _normalised(np.hstack([things * np.sqrt(1 - share), colours * np.sqrt(share)]))


def _in_batches(
    items: Sequence[Item], size: int, dim: int, encode: Callable[[Sequence[Item]], Matrix]
) -> Matrix:
    """`encode` over batches of `items`, joined in order and L2-normalised."""
    parts = [encode(items[start : start + size]) for start in range(0, len(items), size)]
    return _normalised(np.concatenate(parts)) if parts else np.zeros((0, dim), np.float32)


def _weights(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.safetensors")) or sorted(folder.glob("pytorch_model*.bin"))


def _model_files(folder: Path) -> list[Path]:
    """The files of a checkpoint that decide its embeddings."""
    others = ("config.json", "preprocessor_config.json", "tokenizer.json", "vocab.txt")
    return _weights(folder) + [folder / name for name in others if (folder / name).is_file()]


def _fingerprint(recipe: str, files: Sequence[Path]) -> str:
    """SHA-256 over the recipe (what the code does) and the files (what it does it with)."""
    digest = hashlib.sha256(recipe.encode())
    for path in files:
        with path.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()

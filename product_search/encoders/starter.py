"""The starter that ships with the project: a small image network in BGE's space, and colours."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from PIL import Image
from safetensors.numpy import load_file

from product_search.encoders.bge import QUERY_INSTRUCTION, BgeEncoder
from product_search.encoders.checkpoints import fingerprint, image_recipe
from product_search.encoders.colour import COLOURS, RECIPE, image_colours, text_colours
from product_search.encoders.embeddings import Matrix, normalised
from product_search.encoders.precision import Precision
from product_search.encoders.queue import NetworkQueue
from product_search.errors import EncoderError
from product_search.images.decoding import VERSION
from product_search.priority import giving_way

IMAGE_SIDE = 224
# Share of colour in the squared length of the vectors (measured: docs/decisions/0005).
IMAGE_COLOUR = 0.08
TEXT_COLOUR = 0.3
BATCH_SIZE = 8  # more at once take as long for each, and a search waits for a batch
_NETWORKS: dict[Precision, str] = {"float": "image.onnx", "int8": "image-int8.onnx"}
Levels = NDArray[np.uint8]


class StarterEncoder:
    """EfficientNet-Lite0, half of it retrained into BGE's space; the text side is BGE itself.

    A vector has two parts: what a thing is, and the colours that an image shows or a text names
    (models/README.md says how both were made). A text that names no colour asks for none.
    """

    query_instruction = QUERY_INSTRUCTION

    def __init__(
        self,
        folder: Path,
        bge: BgeEncoder,
        batch_size: int = BATCH_SIZE,
        image_version: int = VERSION,
        precision: Precision = "float",
    ) -> None:
        """Load the image network in this precision, and text.safetensors.

        Args:
            folder: where they are.
            bge: what encodes the texts.
            batch_size: images encoded at once.
            image_version: the version of decoding whose vectors the encoder's are compared with.
            precision: what the image network's later layers are computed in.

        Raises:
            EncoderError: a file is missing.
        """
        network, texts = folder / _NETWORKS[precision], folder / "text.safetensors"
        for path in (network, texts):
            if not path.is_file():
                raise EncoderError(f"缺少起步模型文件 {path}：请重新克隆仓库")
        self._session = giving_way(partial(_open_session, network))
        tensors = load_file(texts)
        self._mean, self._turn, self._colours = (tensors[n] for n in ("mean", "turn", "colours"))
        self._bge = bge
        self.dim = self._turn.shape[1] + len(COLOURS)
        self._queue = NetworkQueue.of_images(self.pixels, self.embed_pixels, self.dim, batch_size)
        shares = f"{IMAGE_SIDE}:{IMAGE_COLOUR}:{TEXT_COLOUR}"
        recipe = image_recipe(f"starter:{shares}:{RECIPE}:{bge.fingerprint}", image_version)
        if precision == "int8":
            recipe += ":int8"
        self.fingerprint = fingerprint(recipe, [network, texts])

    def encode_texts(self, texts: Sequence[str]) -> Matrix:
        """Return float32 (n, dim), L2-normalised; one row per text, order kept."""
        return self.derive_texts(texts, self._bge.encode_documents(texts))

    def derive_texts(self, texts: Sequence[str], documents: Matrix) -> Matrix:
        """Return float32 (n, dim) of texts whose BGE document embeddings (n, d) are known."""
        things = normalised((documents - self._mean) @ self._turn)
        return _joined(things, text_colours(texts), TEXT_COLOUR)

    def encode_images(self, images: Sequence[Image.Image]) -> Matrix:
        """Return float32 (n, dim), L2-normalised, of RGB images of any size."""
        return self._queue.encode(images)

    def pixels(self, images: Sequence[Image.Image]) -> list[Levels]:
        """Squeeze RGB images into the network's size, uint8 (3, 224, 224) each."""
        return [_levels(image) for image in images]

    def embed_pixels(self, pixels: Sequence[Levels]) -> Matrix:
        """Return float32 (n, dim), L2-normalised, of one batch of images' pixels; n >= 1."""
        batch = _scaled(pixels)
        things, attention = self._session.run(["embedding", "attention"], {"pixels": batch})
        colours = image_colours(_reduced(batch), attention, self._colours)
        return _joined(normalised(things), colours, IMAGE_COLOUR)


def _open_session(network: Path) -> onnxruntime.InferenceSession:
    """Return a session that runs a batch on all cores; idle threads leave them to others."""
    options = onnxruntime.SessionOptions()
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(network, options, providers=["CPUExecutionProvider"])


def network_pixels(images: Sequence[Image.Image]) -> Matrix:
    """Squeeze RGB images into float32 (n, 3, 224, 224), scaled as EfficientNet-Lite wants."""
    return _scaled([_levels(image) for image in images])


def _levels(image: Image.Image) -> Levels:
    squeezed = image.resize((IMAGE_SIDE, IMAGE_SIDE), Image.Resampling.BICUBIC)
    return np.ascontiguousarray(np.asarray(squeezed).transpose(2, 0, 1))


def _scaled(levels: Sequence[Levels]) -> Matrix:
    pixels = np.stack(levels).astype(np.float32)
    pixels -= 127
    pixels /= 128
    return pixels


def _reduced(pixels: Matrix) -> Matrix:
    """Average the network's pixels (n, 3, side, side) to (n, side / 4, side / 4, 3) in 0 to 255."""
    first, second, third, fourth = (pixels[:, :, start::4] for start in range(4))
    rows = first + second + third + fourth  # far faster than a mean over two axes
    first, second, third, fourth = (rows[..., start::4] for start in range(4))
    means = (first + second + third + fourth) / 16
    return np.ascontiguousarray((means * 128 + 127).transpose(0, 2, 3, 1))


def _joined(things: Matrix, colours: Matrix, share: float) -> Matrix:
    """Put unit rows of both side by side; colours take this share of a row's squared length."""
    return normalised(np.hstack([things * np.sqrt(1 - share), colours * np.sqrt(share)]))

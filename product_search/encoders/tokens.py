"""Texts to tokens, as BERT's checkpoints want them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer as Vocabulary, models
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import BertProcessing

from product_search.errors import EncoderError

Tokens = NDArray[np.int64]  # (length,)


class Tokenizer:
    """The tokenizer of a checkpoint; any number of threads may use it."""

    def __init__(self, folder: Path, limit: int) -> None:
        """Read tokenizer.json, or vocab.txt; texts are cut at `limit` tokens.

        Raises:
            EncoderError: neither can be read.
        """
        try:
            vocabulary = _read(folder)
        except Exception as error:  # tokenizers raises nothing more special
            raise EncoderError(f"{folder} 里的分词器无法读取：{error}") from error
        vocabulary.no_padding()
        vocabulary.enable_truncation(limit)
        self._vocabulary = vocabulary

    def tokenise(self, texts: Sequence[str]) -> list[Tokens]:
        """Return each text's tokens, with those that begin and end it."""
        if len(texts) == 1:  # a search: without the threads that a batch is spread over
            return [np.array(self._vocabulary.encode(texts[0]).ids, np.int64)]
        encoded = self._vocabulary.encode_batch_fast(list(texts))
        return [np.array(one.ids, np.int64) for one in encoded]


def _read(folder: Path) -> Vocabulary:
    if (folder / "tokenizer.json").is_file():
        return Vocabulary.from_file(str(folder / "tokenizer.json"))
    options = folder / "tokenizer_config.json"  # not every copy of a checkpoint has it
    config = json.loads(options.read_text("utf-8")) if options.is_file() else {}
    words = models.WordPiece.from_file(str(folder / "vocab.txt"), unk_token="[UNK]")
    vocabulary = Vocabulary(words)
    vocabulary.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    vocabulary.normalizer = BertNormalizer(lowercase=config.get("do_lower_case", True))
    vocabulary.pre_tokenizer = BertPreTokenizer()
    numbers = vocabulary.get_vocab()
    vocabulary.post_processor = BertProcessing(
        ("[SEP]", numbers["[SEP]"]), ("[CLS]", numbers["[CLS]"])
    )
    return vocabulary

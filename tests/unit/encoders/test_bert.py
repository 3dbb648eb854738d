"""BERT as an ONNX graph: what PyTorch computes, in float32 and in int8."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer, BertModel

from product_search.encoders.bge import BgeEncoder
from product_search.encoders.embeddings import Matrix, normalised
from product_search.encoders.tokens import Tokenizer
from product_search.encoders.torch_bert import TorchBert
from product_search.errors import EncoderError
from tests.test_layers import ROOT
from tests.unit.checkpoints import LIMIT, change_config, write_bge

SHIPPED = ROOT / "models" / "bge-small-zh-v1.5"
RELEVANCE = ROOT / "tests" / "relevance"
ODD = ["", "a", "红", "XR-200 GodMorgon", "🎒𠮷 é", "[SEP] 红 [MASK]", "长" * 700, "\u3000\u200b"]


def product_texts() -> list[str]:
    with (ROOT / "sample_data" / "catalog.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    return [row["title"] for row in rows] + [
        f"{row['title']} {row['description']}" for row in rows if row["description"]
    ]


def query_texts() -> list[str]:
    texts = []
    for name in ("catalog", "images", "photos"):
        with (RELEVANCE / name / "queries.tsv").open(encoding="utf-8") as stream:
            texts += [row[1] for row in csv.reader(stream, delimiter="\t")]
    return texts


def by_pytorch(folder: Path, texts: list[str]) -> Matrix:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = BertModel.from_pretrained(folder, add_pooling_layer=False, dtype=torch.float32).eval()
    limit = model.config.max_position_embeddings
    rows = []
    for text in texts:
        tokens = tokenizer(text.lower(), truncation=True, max_length=limit, return_tensors="pt")
        with torch.inference_mode():
            rows.append(model(**tokens).last_hidden_state[:, 0].numpy())
    return normalised(np.concatenate(rows))


def cosines(one: Matrix, other: Matrix) -> Matrix:
    return np.asarray((one * other).sum(axis=1))


def test_float32_is_what_pytorch_computes(tmp_path: Path) -> None:
    for folder in (write_bge(tmp_path), SHIPPED):
        vectors = BgeEncoder(folder).encode_documents(ODD)
        assert cosines(vectors, by_pytorch(folder, ODD)).min() > 0.99999


def test_int8_agrees_with_float32_on_every_query_and_product() -> None:
    encoder, exact = BgeEncoder(SHIPPED, precision="int8"), BgeEncoder(SHIPPED)
    texts = query_texts()
    both = [cosines(encoder.encode_queries(texts), exact.encode_queries(texts))]
    texts = product_texts()
    both.append(cosines(encoder.encode_documents(texts), exact.encode_documents(texts)))
    agreement = np.concatenate(both)
    assert len(agreement) > 900
    assert agreement.mean() >= 0.99
    assert agreement.min() >= 0.97
    assert agreement.max() < 0.9999  # it is not float32 under another name


@pytest.mark.parametrize("precision", ["float", "int8"])
def test_a_vector_does_not_depend_on_the_batch(precision: str) -> None:
    encoder = BgeEncoder(SHIPPED, precision="int8" if precision == "int8" else "float")
    texts = [*ODD, *query_texts()[::9], *product_texts()[::40]]
    alone = np.concatenate([encoder.encode_documents([text]) for text in texts])
    order = np.random.default_rng(0).permutation(len(texts))
    for start in range(0, len(texts), 32):
        mixed = order[start : start + 32]
        batch = encoder.embed(encoder.tokenise([texts[one] for one in mixed]))
        assert cosines(batch, alone[mixed]).min() >= 0.9999


def test_each_precision_has_a_fingerprint_of_its_own() -> None:
    assert BgeEncoder(SHIPPED).fingerprint != BgeEncoder(SHIPPED, precision="int8").fingerprint


def test_what_runs_on_a_gpu_is_the_same_network(tmp_path: Path) -> None:
    folder = write_bge(tmp_path)
    encoder = BgeEncoder(folder)
    by_torch = TorchBert(folder, "cpu").embed(encoder.tokenise(ODD))
    np.testing.assert_allclose(normalised(by_torch), encoder.encode_documents(ODD), atol=1e-5)


def test_a_vocabulary_alone_makes_the_tokenizer_of_the_library(tmp_path: Path) -> None:
    folder = write_bge(tmp_path)
    theirs = AutoTokenizer.from_pretrained(folder)
    whole = Tokenizer(folder, LIMIT).tokenise(ODD)
    (folder / "tokenizer.json").unlink()
    alone = Tokenizer(folder, LIMIT).tokenise(ODD)
    for text, one, other in zip(ODD, whole, alone, strict=True):
        assert other.tolist() == one.tolist()
        assert other.tolist() == theirs(text, truncation=True, max_length=LIMIT)["input_ids"]


def test_a_folder_without_a_tokenizer_is_told(tmp_path: Path) -> None:
    folder = write_bge(tmp_path)
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.txt").unlink()
    with pytest.raises(EncoderError, match="分词器"):
        BgeEncoder(folder)


def test_an_activation_that_is_not_known_is_told(tmp_path: Path) -> None:
    change_config(write_bge(tmp_path), hidden_act="relu")
    with pytest.raises(EncoderError, match="relu"):
        BgeEncoder(tmp_path)

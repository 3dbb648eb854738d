"""bge-small-zh by PyTorch, ONNX Runtime and OpenVINO: texts a second, and agreement.

python -m benchmarks.text_runtimes

OpenVINO is a row for each precision where it is installed in a virtual environment of its own:

python -m venv .bench/venv-openvino
.bench/venv-openvino/bin/pip install openvino==2026.0.0 nncf==3.0.0

Agreement is the cosine with PyTorch in float32 over queries and products; `alone` is the least
cosine of a text alone with itself among 31 others. All runtimes take turns in each round.
"""

from __future__ import annotations

import csv
import json
import pickle
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from transformers import BertModel

from product_search.encoders.bert import Bert
from product_search.encoders.bge import QUERY_INSTRUCTION
from product_search.encoders.embeddings import Matrix, normalised
from product_search.encoders.tensors import Checkpoint
from product_search.encoders.tokens import Tokenizer, Tokens
from product_search.encoders.torch_bert import TorchBert
from product_search.settings import ROOT, Settings

BATCHES = (1, 8, 32)
ROUNDS = 4
SECONDS = 0.6  # of each runtime and batch in a round
LIMIT = 512
OPENVINO = ROOT / ".bench" / "venv-openvino" / "bin" / "python"
Embed = Callable[[Sequence[Tokens]], Matrix]


def texts() -> list[str]:
    """Return the sample catalogue's titles: as queries cut short, and whole as documents."""
    with (ROOT / "sample_data" / "catalog.csv").open(encoding="utf-8") as stream:
        titles = [row["title"].lower() for row in csv.DictReader(stream)]
    queries = [QUERY_INSTRUCTION + title[: 4 + i % 14] for i, title in enumerate(titles)]
    return [*queries, *titles]


def padded(tokens: Sequence[Tokens]) -> dict[str, np.ndarray]:
    """Return the inputs of a network that takes texts side by side, padded to one length."""
    shape = len(tokens), max(map(len, tokens))
    names = ("input_ids", "attention_mask", "token_type_ids")
    inputs = {name: np.zeros(shape, np.int64) for name in names}
    for row, one in enumerate(tokens):
        inputs["input_ids"][row, : len(one)] = one
        inputs["attention_mask"][row, : len(one)] = 1
    return inputs


class _FirstState(torch.nn.Module):
    """A BERT that returns the states of the first tokens."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.bert = BertModel.from_pretrained(
            folder, add_pooling_layer=False, attn_implementation="eager", dtype=torch.float32
        ).eval()

    def forward(self, tokens: torch.Tensor, mask: torch.Tensor, kind: torch.Tensor) -> torch.Tensor:
        states = self.bert(input_ids=tokens, attention_mask=mask, token_type_ids=kind)
        return torch.as_tensor(states.last_hidden_state[:, 0])


def export(folder: Path, target: Path) -> None:
    """Write the checkpoint as an ONNX file, as exporters do: padded inputs, plain operators."""
    inputs = padded([np.arange(1, 9), np.arange(1, 5)])
    axes = {name: {0: "texts", 1: "places"} for name in inputs}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's, of itself
        torch.onnx.export(
            _FirstState(folder).eval(),
            tuple(torch.from_numpy(value) for value in inputs.values()),
            str(target),
            input_names=list(inputs),
            output_names=["output"],
            dynamic_axes={**axes, "output": {0: "texts"}},
            opset_version=17,
            dynamo=False,
        )


def by_dynamic_int8(exported: Path) -> Embed:
    """Return ONNX Runtime's own dynamic quantisation: one scale for a whole batch."""
    target = exported.with_name("dynamic.onnx")
    quantize_dynamic(exported, target, weight_type=QuantType.QInt8, per_channel=True)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(target, options, providers=["CPUExecutionProvider"])
    known = {one.name for one in session.get_inputs()}

    def embed(tokens: Sequence[Tokens]) -> Matrix:
        inputs = {name: value for name, value in padded(tokens).items() if name in known}
        return np.asarray(session.run(None, inputs)[0], np.float32)

    return embed


@contextmanager
def by_openvino(exported: Path, precision: str) -> Iterator[Embed]:
    """Yield OpenVINO, in a process of its own that its virtual environment runs."""
    worker = Path(__file__).with_name("openvino_worker.py")
    command = [str(OPENVINO), str(worker), str(exported), precision]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        requests, answers = process.stdin, process.stdout

        def embed(tokens: Sequence[Tokens]) -> Matrix:
            pickle.dump(padded(tokens), requests)
            requests.flush()
            return np.asarray(pickle.load(answers), np.float32)

        if answers.readline() != b"ready\n":
            raise RuntimeError(f"OpenVINO in {precision} did not start")
        yield embed
        requests.close()


def runtimes(folder: Path, work: Path, stack: ExitStack) -> dict[str, Embed]:
    """Return what is compared, the first being what the others are compared with."""
    exported = work / "bge.onnx"
    export(folder, exported)
    checkpoint = Checkpoint.read(folder, prefix="bert.")
    ways: dict[str, Embed] = {
        "PyTorch float32": TorchBert(folder, "cpu").embed,
        "ONNX Runtime float32, ours": Bert(checkpoint, "float").embed,
        "ONNX Runtime int8 by rows, ours": Bert(checkpoint, "int8").embed,
        "ONNX Runtime dynamic int8": by_dynamic_int8(exported),
    }
    if not OPENVINO.is_file():
        sys.stderr.write(f"without OpenVINO: there is no {OPENVINO}\n")
        return ways
    for precision in ("float32", "bfloat16", "int8"):
        way = stack.enter_context(by_openvino(exported, precision))
        ways[f"OpenVINO {precision}"] = way
    return ways


def agreement(ways: dict[str, Embed], tokens: list[Tokens]) -> dict[str, dict[str, float]]:
    """Return each runtime's mean and least cosine with the first, and of alone with mixed."""
    mixed = [tokens[i] for i in np.random.default_rng(0).permutation(len(tokens))]
    batches = [mixed[start : start + 32] for start in range(0, len(mixed), 32)]
    found, exact = {}, None
    for name, embed in ways.items():
        together = normalised(np.concatenate([embed(batch) for batch in batches]))
        alone = normalised(np.concatenate([embed([one]) for one in mixed[:128]]))
        exact = together if exact is None else exact
        cosines = (together * exact).sum(axis=1)
        found[name] = {
            "mean": float(cosines.mean()),
            "least": float(cosines.min()),
            "alone": float((alone * together[:128]).sum(axis=1).min()),
        }
    return found


def rate(embed: Embed, tokens: list[Tokens], batch: int) -> float:
    """Return queries a second in batches of this size."""
    start, done = time.perf_counter(), 0
    while (taken := time.perf_counter() - start) < SECONDS:
        place = done % (len(tokens) - batch)
        embed(tokens[place : place + batch])
        done += batch
    return done / taken


def rates(ways: dict[str, Embed], queries: list[Tokens]) -> dict[str, dict[int, float]]:
    """Return the medians over rounds in which all runtimes take turns."""
    for embed in ways.values():
        embed(queries[:32])
    found: dict[str, dict[int, list[float]]] = {way: {b: [] for b in BATCHES} for way in ways}
    for _ in range(ROUNDS):
        for batch in BATCHES:
            for name, embed in ways.items():
                found[name][batch].append(rate(embed, queries, batch))
    return {
        name: {batch: float(np.median(rows)) for batch, rows in of.items()}
        for name, of in found.items()
    }


def table(
    speeds: dict[str, dict[int, float]], agreements: dict[str, dict[str, float]]
) -> Iterator[str]:
    """Yield lines of Markdown; rates are ratios to the first runtime's, whose own are absolute."""
    yield "| runtime | batch 1 | batch 8 | batch 32 | mean | least | alone |"
    yield "|---|---|---|---|---|---|---|"
    base = next(iter(speeds.values()))
    for name, of in speeds.items():
        cells = [f"{of[b]:.0f}/s" if of is base else f"x {of[b] / base[b]:.2f}" for b in BATCHES]
        cells += [f"{agreements[name][key]:.4f}" for key in ("mean", "least", "alone")]
        yield f"| {name} | {' | '.join(cells)} |"


def main() -> None:
    """Compare the runtimes on the weights that ship; print a table and a line of JSON."""
    folder = Settings().shipped_bge
    tokens = Tokenizer(folder, LIMIT).tokenise(texts())
    with tempfile.TemporaryDirectory() as work, ExitStack() as stack:
        ways = runtimes(folder, Path(work), stack)
        agreements = agreement(ways, tokens)
        speeds = rates(ways, tokens[: len(tokens) // 2])
    sys.stdout.writelines(f"{line}\n" for line in table(speeds, agreements))
    sys.stdout.write(json.dumps({"rates": speeds, "agreement": agreements}) + "\n")


if __name__ == "__main__":
    main()

"""OpenVINO's side of text_runtimes, run by the Python of its own virtual environment.

python openvino_worker.py MODEL.onnx float32|bfloat16|int8

Reads a pickled dictionary of arrays for each batch, and writes an array. In int8 nncf compresses
the weights, and OpenVINO scales activations by groups when it runs.
"""

from __future__ import annotations

import pickle
import sys
from typing import Any


def compiled(path: str, precision: str) -> Any:
    """Return the model, compiled for this machine's processor."""
    import openvino

    core = openvino.Core()
    model = core.read_model(path)
    options = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    if precision == "bfloat16":
        options["INFERENCE_PRECISION_HINT"] = "bf16"
    if precision == "int8":
        import nncf

        model = nncf.compress_weights(model, mode=nncf.CompressWeightsMode.INT8_SYM)
        options["DYNAMIC_QUANTIZATION_GROUP_SIZE"] = "128"
    return core.compile_model(model, "CPU", options)


def main() -> None:
    """Answer batches until there are no more."""
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    sys.stdout = sys.stderr  # what libraries print does not belong among the answers
    model = compiled(*sys.argv[1:3])
    known = [port.get_any_name() for port in model.inputs]
    answers.write(b"ready\n")
    answers.flush()
    while True:
        try:
            arrays = pickle.load(requests)
        except EOFError:
            return
        (output,) = model({name: arrays[name] for name in known}).to_tuple()
        pickle.dump(output, answers)
        answers.flush()


if __name__ == "__main__":
    main()

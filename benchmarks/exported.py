"""A run's model as GGUF files in llama.cpp beside its merged model: exact match on the same problems, and equal texts.

    python benchmarks/exported.py RUN [--count 100] [--kinds f32 q8_0] [--threads 2]

Needs `pip install 'dycktune[gguf]' xllamacpp`. The problems are test problems with the options of the run. llama.cpp
answers through its own server, greedily, with its cache of keys and values in float32.
"""

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import xllamacpp  # pyright: ignore[reportMissingImports]

from dycktune.data.corpus import Corpus
from dycktune.evaluation.endpoint import evaluate_endpoint
from dycktune.evaluation.evaluate import Evaluation, evaluate
from dycktune.inference.endpoint import find_endpoint
from dycktune.models.gguf.export import Kind, export
from dycktune.models.loading import load
from dycktune.tasks.base import Item, Task


def main() -> None:
    """Print a row for the merged model and one for each file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--kinds", nargs="+", choices=get_args(Kind), default=["f32", "q8_0"])
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    merged = load(options.run)
    assert merged.card is not None
    task = merged.card.make_task()
    items = list(Corpus(task, count=options.count, split="test"))
    start = time.perf_counter()
    own = evaluate(merged, task, items)
    print(f"merged: {row(own, own)}, {time.perf_counter() - start:.0f} s", flush=True)
    for kind in options.kinds:
        with tempfile.TemporaryDirectory() as folder:
            file = export(options.run, Path(folder) / "model.gguf", kind=kind)
            start = time.perf_counter()
            found = answered(file.path, task, items, threads=options.threads)
            seconds = time.perf_counter() - start
            print(f"{kind} ({file.size / 1e6:.0f} MB): {row(found, own)}, {seconds:.0f} s", flush=True)


def row(found: Evaluation[Any], own: Evaluation[Any]) -> str:
    """Exact match with its interval, and how many texts are the merged model's."""
    pairs = list(zip(found.completions, own.completions, strict=True))
    equal = sum(a.text == b.text for a, b in pairs)
    texts = f"{equal} of {len(pairs)} texts equal"
    return f"exact match {found.exact_match}, trace valid {found.trace_valid}, {texts}"


def answered(path: Path, task: Task, items: Sequence[Item], *, threads: int) -> Evaluation[Any]:
    """The replies of llama.cpp's server with this file."""
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(path)
    parameters.n_ctx, parameters.n_parallel = 4096, 1
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = threads
    parameters.cache_type_k = parameters.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    parameters.warmup, parameters.port, parameters.verbosity = False, 0, 0
    server = xllamacpp.Server(parameters)
    endpoint = find_endpoint(f"{server.listening_address}/v1", concurrency=1)
    return evaluate_endpoint(endpoint, task, items)


if __name__ == "__main__":
    main()

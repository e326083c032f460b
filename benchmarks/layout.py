"""Products of a few tokens with all linear layers of a model, its weights by rows and by columns.

Usage: layout.py [BASE] [--tokens 1 2 4 8 13 32 64 256] [--repeats 7]

By rows is how a model is loaded, by columns how `decode` stores it (`dycktune.inference.layout`). The two take turns,
so that other work on the machine slows both. Prints a Markdown table: medians in milliseconds, and the smallest and
largest ratio of two neighbouring turns. The largest difference between the two products is printed below.
"""

import argparse
import statistics
import time
from contextlib import nullcontext

import torch
from torch import nn

from dycktune.inference.layout import LEAST_ROWS, stored_by_columns
from dycktune.models.loading import BUILTIN, load_base


def products(layers: list[nn.Linear], tokens: int) -> tuple[float, list[torch.Tensor]]:
    """The milliseconds that one product with each layer takes, and the products."""
    generator = torch.Generator().manual_seed(tokens)
    inputs = {
        size: torch.randn(tokens, size, generator=generator)
        for size in {layer.in_features for layer in layers}
    }
    began = time.perf_counter()
    found = [layer(inputs[layer.in_features]) for layer in layers]
    return 1e3 * (time.perf_counter() - began), found


@torch.inference_mode()
def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("base", nargs="?", default=BUILTIN)
    parser.add_argument("--tokens", type=int, nargs="+", default=[1, 2, 4, 8, 13, 32, 64, 256])
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    model, _ = load_base(options.base, dtype="float32")
    layers = [layer for layer in model.modules() if isinstance(layer, nn.Linear)]
    print(
        f"{options.base}, {len(layers)} layers, {torch.get_num_threads()} threads, torch {torch.__version__}\n"
    )
    print("| tokens | by rows, ms | by columns, ms | ratio |\n|---|---|---|---|")
    furthest = 0.0
    for tokens in options.tokens:
        times: dict[str, list[float]] = {"rows": [], "columns": []}
        for _ in range(options.repeats):
            results = {}
            for name in times:
                with stored_by_columns(model, rows=LEAST_ROWS) if name == "columns" else nullcontext():
                    taken, results[name] = products(layers, tokens)
                times[name].append(taken)
            pairs = zip(results["rows"], results["columns"], strict=True)
            furthest = max(furthest, *((a - b).abs().max().item() for a, b in pairs))
        rows, columns = (statistics.median(times[name]) for name in times)
        ratios = [r / c for r, c in zip(*times.values(), strict=True)]
        print(
            f"| {tokens} | {rows:.3g} | {columns:.3g} | {rows / columns:.2f} ({min(ratios):.2f}-{max(ratios):.2f}) |",
            flush=True,
        )
    print(f"\nlargest difference: {furthest:.1g}")


if __name__ == "__main__":
    main()

"""A training for each line of a file, on the machines of a Ray cluster. Arguments: sweep.txt recipe.toml runs/sweep."""

import subprocess
import sys
from pathlib import Path

import ray


@ray.remote(num_cpus=1, max_retries=3)  # for GPUs: num_gpus=1
def train(recipe: str, out: str, options: list[str]) -> int:
    """The exit status of a training: 0 healthy, 1 not healthy."""
    command = [sys.executable, "-m", "dycktune", "train", recipe, "--out", out, *options]
    status = subprocess.run(command, check=False).returncode
    if status not in (0, 1):
        raise RuntimeError(f"{out} ended with status {status}")
    return status


file, recipe, root = sys.argv[1:]
ray.init()
lines = Path(file).read_text(encoding="utf-8").splitlines()
jobs = [train.remote(recipe, f"{root}/{i}", line.split()) for i, line in enumerate(lines, start=1)]
print(ray.get(jobs))

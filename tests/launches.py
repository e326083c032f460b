"""Starts the program with torchrun, as a user does, on a model that memorises its answers in seconds."""

import json
import os
import subprocess
import sys
from pathlib import Path

from dycktune.tasks.dyck.problem import Problem
from dycktune.tasks.dyck.prompt import messages
from dycktune.tasks.dyck.trace import STYLES
from small_models import make_model, make_tokenizer
from small_runs import PREFIXES

RECIPE = """
[model]
base = "{root}/base"
dtype = "float32"

[data]
train = "{root}/rows.jsonl"
eval = "{root}/rows.jsonl"

[lora]
r = 16
alpha = 32
dropout = 0.0

[optim]
learning_rate = 1e-2
accumulation = 1
max_steps = 24
warmup = 0.1
precision = "float32"
checkpointing = false

[eval]
steps = 8
log_steps = 1

[save]
steps = 8
"""

ROWS = 8


def launch(ranks: int, *command: str) -> subprocess.CompletedProcess:
    """Run `command`, a script or `-m module` with its arguments, on `ranks` ranks; `stdout` holds both outputs."""
    return _run("torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}", *command)


def launch_by_accelerate(ranks: int, config: Path, *command: str) -> subprocess.CompletedProcess:
    """Like `launch`, with `accelerate launch` and one of its configuration files."""
    options = ("--config_file", str(config), "--num_processes", str(ranks), "--main_process_port", "0")
    return _run("accelerate.commands.launch", *options, *command)


def _run(module: str, *arguments: str) -> subprocess.CompletedProcess:
    path = os.pathsep.join(filter(None, sys.path))
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=240,
        check=False,
    )


def write_project(root: Path) -> Path:
    """Write a base, a few bracket problems with answers but no traces, and a recipe; returns the recipe."""
    tokenizer = make_tokenizer()
    make_model(tokenizer).save_pretrained(root / "base")
    tokenizer.save_pretrained(root / "base")
    lines = [json.dumps(_row(Problem(prefix))) + "\n" for prefix in PREFIXES[:ROWS]]
    (root / "rows.jsonl").write_text("".join(lines))
    recipe = root / "recipe.toml"
    recipe.write_text(RECIPE.format(root=root))
    return recipe


def _row(problem: Problem) -> dict:
    answer = {"role": "assistant", "content": f"FINAL ANSWER: {problem.full}"}
    return {
        "messages": [*messages(problem, STYLES["compact"]), answer],
        "problem": {"prefix": problem.prefix},
    }

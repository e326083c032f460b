"""`torchrun -m dycktune ...` on two and four gloo processes, compared with the same command on one."""

import json
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from dycktune.cli import main
from dycktune.runs import RunFolder
from launches import ROWS, launch, launch_by_accelerate, write_project

pytestmark = pytest.mark.slow

DYING, SHARDED = (str(Path(__file__).with_name(f"{name}_program.py")) for name in ("dying", "sharded"))
FSDP2 = Path(__file__).parents[2] / "recipes" / "launch" / "eight-gpus-fsdp2.yaml"
FLOATS = ("loss", "grad_norm", "loss_answer", "eval_loss", "eval_loss_answer")


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("launch")
    write_project(root)
    return root


def train_command(root: Path, ranks: int) -> list[str]:
    """Every step holds all rows, for any number of ranks."""
    out, batch = str(root / f"on-{ranks}"), str(ROWS // ranks)
    return ["train", str(root / "recipe.toml"), "--out", out, "--optim.batch-size", batch]


@pytest.fixture(scope="module")
def one(project) -> RunFolder:
    # Status 1: the run has too few evaluations for the label healthy.
    assert main(train_command(project, 1)) == 1
    return RunFolder(project / "on-1")


@pytest.fixture(scope="module", params=[2, 4])
def launched(request, project) -> tuple[RunFolder, str]:
    """A run on several ranks, and their output."""
    done = launch(request.param, "-m", "dycktune", *train_command(project, request.param))
    assert done.returncode == 1, done.stdout
    return RunFolder(project / f"on-{request.param}"), done.stdout


def assert_same_curve(run: RunFolder, reference: RunFolder) -> None:
    """Row by row, up to the rounding of float32, which each step amplifies, most of all in the gradient norm."""
    rows, expected = (list(folder.read_metrics()) for folder in (run, reference))
    assert [row["step"] for row in rows] == [row["step"] for row in expected]
    for row, other in zip(rows, expected, strict=True):
        assert row.keys() == other.keys()
        for key in other.keys() & set(FLOATS):
            later = 1e-2 if key == "grad_norm" else 1e-4
            assert row[key] == pytest.approx(other[key], rel=1e-5 if row["step"] <= 12 else later)


def wrong_answers(run: RunFolder) -> dict[int, list[int]]:
    return {step: row["wrong"] for step, row in run.read_scores().items()}


def test_the_loss_curve_is_that_of_one_process(launched, one):
    assert_same_curve(launched[0], one)


def test_every_checkpoint_has_the_same_right_answers(launched, one):
    """Some answers are right and some wrong, so a wrong order would show."""
    assert 0 < len(wrong_answers(one)[24]) < ROWS
    assert wrong_answers(launched[0]) == wrong_answers(one)
    selected = [json.loads(run.selection.read_text())["step"] for run in (launched[0], one)]
    assert selected == [16, 16]


def test_only_the_main_rank_writes_the_run_folder_and_prints(launched, one):
    run, output = launched
    # Another test may have evaluated the run of one process before.
    alone = {path.name for path in one.path.iterdir()} - {one.evaluations.name}
    assert {path.name for path in run.path.iterdir()} == alone
    assert output.count("step 24/24  loss") == output.count("trained: ") == output.count("deploying ") == 1
    assert output.count("checkpoint-8: exact match") == 1


def test_two_ranks_evaluate_and_select_as_one(one, project, capsys):
    """Without the scores of the training, select asks for every answer again."""
    command = ["evaluate", str(one.path), "--data", str(project / "rows.jsonl"), "--json"]
    assert main(command) == 0
    alone = json.loads(capsys.readouterr().out)
    assert 0 < alone["exact_match"] < 1
    done = launch(2, "-m", "dycktune", *command)
    assert done.returncode == 0, done.stdout
    assert [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")] == [alone]
    recorded = [row["exact_match"] for row in one.read_evaluations()]
    assert recorded == [alone["exact_match"]] * 2
    parts = [project / "replies" / f"{index}.json" for index in (1, 2)]
    shards = [["--shard", f"{index}/2", "--out", str(part)] for index, part in enumerate(parts, start=1)]
    assert launch(2, "-m", "dycktune", *command, *shards[0]).returncode == 0
    assert main([*command, *shards[1]]) == 0
    capsys.readouterr()
    assert main([*command, "--join", *map(str, parts)]) == 0
    assert json.loads(capsys.readouterr().out) == alone
    scores, selection = one.scores.read_text(), one.selection.read_text()
    one.write_scores([])
    done = launch(2, "-m", "dycktune", "select", str(one.path))
    assert done.returncode == 0, done.stdout
    assert one.scores.read_text() == scores
    assert json.loads(one.selection.read_text())["step"] == json.loads(selection)["step"]
    assert done.stdout.count("deploying ") == 1


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("kill", "Signal 9 (SIGKILL) received"),
        ("raise", "OSError: the disk went away"),
    ],
)
def test_a_launch_ends_within_a_minute_when_a_rank_dies(project, how, reason):
    out = project / how
    command = [*train_command(project, 2)[:2], "--out", str(out), "--optim.batch-size", "4"]
    started = time.monotonic()
    done = launch(2, DYING, how, *command)
    assert time.monotonic() - started < 60
    assert done.returncode != 0
    assert reason in done.stdout
    assert not RunFolder(out).finished


def test_a_model_sharded_by_fsdp2_learns_resumes_and_saves_whole_checkpoints(project, one, tmp_path):
    """Half of the answers are left to select, which loads whole checkpoints on every rank."""
    run, notes = RunFolder(tmp_path / "run"), tmp_path / "notes.json"
    command = [*train_command(project, 2), "--guard.enabled", "false", "--eval.exact-match", str(ROWS // 2)]
    command[command.index("--out") + 1] = str(run.path)
    done = launch_by_accelerate(2, FSDP2, SHARDED, str(notes), *command)
    assert done.returncode == 0, done.stdout
    seen = json.loads(notes.read_text())
    assert seen["status"] == 1
    assert seen["whole"] == 0, "every parameter is a DTensor"
    assert seen["own"] == seen["numbers"] / 2
    assert seen["steps"] == [*range(13), *range(8, 24)]
    assert_same_curve(run, one)
    assert wrong_answers(run) == wrong_answers(one)
    for checkpoint, expected in zip(run.checkpoints(), one.checkpoints(), strict=True):
        ours, theirs = (load_file(c.path / "adapter_model.safetensors") for c in (checkpoint, expected))
        assert ours.keys() == theirs.keys()
        # A hundredth of one step's 1e-2: where a gradient is nearly zero, AdamW makes steps of its rounding.
        assert all(torch.allclose(ours[name], theirs[name], atol=1e-4) for name in theirs)

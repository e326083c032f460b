"""Reinforcement learning on a small random model, with a task that it solves half of the time."""

import errno
import json
import os
import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from safetensors.torch import load_file

from dycktune.checkpoints import seal
from dycktune.errors import ConfigError, ItemError, RunError
from dycktune.models.card import ModelCard
from dycktune.planning.plan import plan
from dycktune.preview.preview import preview
from dycktune.report import write_report
from dycktune.runs import RunFolder
from dycktune.selection import select
from dycktune.tasks import registry
from dycktune.tasks.base import Item, Message, Task, Verdict
from dycktune.training import resumable
from dycktune.training.answer_evaluator import AnswerEvaluator
from dycktune.training.config import Config
from dycktune.training.events import Sampled
from dycktune.training.grpo import packed as packed_replies
from dycktune.training.grpo import run as grpo_run
from dycktune.training.grpo.rollout import Rollout
from dycktune.training.grpo.trainer import VerifiedGRPOTrainer
from dycktune.training.packing import pack
from dycktune.training.recipe import build, task_of
from dycktune.training.resuming import starting_point
from dycktune.training.run import train
from small_models import make_model, make_tokenizer
from stopped_runs import heard_ctrl_c, rows, signal_at

pytest.importorskip("trl")

TRL_KEYS = {
    "loss",
    "grad_norm",
    "learning_rate",
    "reward",
    "reward_std",
    "frac_reward_zero_std",
    "entropy",
    "completions/mean_length",
    "completions/clipped_ratio",
    "clip_ratio/region_mean",
    "rewards/answer/mean",
    "rewards/format/mean",
}
"""Names that other programs read in logs of TRL."""


@dataclass(frozen=True, kw_only=True)
class Number(Item):
    number: int


class MostlyAscii(Task[Number]):
    """Write at least seven ASCII characters in ten: a random model does so about half of the time."""

    name: ClassVar[str] = "mostly_ascii"
    item_type: ClassVar[type[Any]] = Number

    def draw(self, rng: random.Random) -> Number:
        return Number(number=rng.randrange(10**6))

    def messages(self, item: Number) -> list[Message]:
        return [{"role": "user", "content": f"{item.number}"}]

    def solution(self, item: Number) -> str:
        del item
        return "B"

    def verify(self, item: Number, reply: str) -> Verdict:
        del item
        right = reply != "" and sum(map(str.isascii, reply)) >= 0.7 * len(reply)
        return Verdict(correct=right, answer=reply[:1] or None, format_ok=True)


@pytest.fixture(autouse=True, scope="module")
def ctrl_c() -> Iterator[None]:
    with heard_ctrl_c():
        yield


@pytest.fixture(scope="module", autouse=True)
def known_task() -> Iterator[None]:
    registry.register(MostlyAscii)
    yield
    del registry._REGISTERED[MostlyAscii.name]


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> str:
    """A small random model on disk."""
    folder, tokenizer = tmp_path_factory.mktemp("base"), make_tokenizer()
    make_model(tokenizer).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def recipe_of(base: str, **overrides: object) -> Config:
    """Four steps of four problems with four replies each; overrides by `section__field`, or of a whole section."""
    content: dict[str, dict[str, object]] = {
        "model": {"base": base, "dtype": "float32"},
        "train": {"method": "grpo"},
        "task": {"name": "mostly_ascii"},
        "data": {"count": 64, "eval_count": 8},
        "lora": {"r": 4, "dropout": 0.1},
        "optim": {
            "learning_rate": 1e-2,
            "schedule": "constant_with_warmup",
            "warmup": 0.0,
            "batch_size": 8,
            "accumulation": 2,
            "max_steps": 4,
            "checkpointing": False,
            "precision": "float32",
        },
        "grpo": {"group_size": 4, "pass_at_k": 4},
        "eval": {"steps": 2, "log_steps": 1, "exact_match": 8},
        "save": {"steps": 2},
        "select": {"count": 8},
    }
    for name, value in overrides.items():
        section, _, field = name.partition("__")
        content[section] = {**content.get(section, {}), field: value} if field else value
    return build(content, {})


@pytest.fixture(scope="module")
def finished(base, tmp_path_factory) -> RunFolder:
    """A run of four steps with a KL penalty."""
    return RunFolder(train(recipe_of(base, grpo__beta=0.05), tmp_path_factory.mktemp("runs") / "run"))


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "adapter_model.safetensors")


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_the_log_has_the_names_that_trl_gives(finished):
    rows = [row for row in finished.read_metrics() if "loss" in row]
    assert [row["step"] for row in rows] == [1, 2, 3, 4]
    for row in rows:
        assert row.keys() >= TRL_KEYS | {"kl"}


def test_the_divergence_is_measured_from_the_model_that_the_training_started_from(finished):
    divergences = [row["kl"] for row in finished.read_metrics() if "kl" in row]
    assert divergences[0] == pytest.approx(0.0, abs=1e-6)
    assert divergences[-1] > 1e-5


def test_every_evaluation_is_exact_match_and_the_first_one_is_before_the_first_step(finished):
    rows = [row for row in finished.read_metrics() if "eval_exact_match" in row]
    assert [row["step"] for row in rows] == [0, 2, 4]
    assert [row["eval_training_seconds"] > 0 for row in rows] == [False, True, True]
    assert not any("eval_loss" in row or "eval_reward" in row for row in rows)
    assert finished.read_scores().keys() == {0, 2, 4}
    assert [row["eval_exact_match"] for row in rows] == [
        score["exact_match"] for score in finished.read_scores().values()
    ]


def test_checkpoints_hold_one_adapter_and_the_card_and_the_start_is_one_of_them(finished, base):
    assert [checkpoint.step for checkpoint in finished.checkpoints()] == [0, 2, 4]
    for _, folder in finished.checkpoints():
        assert ModelCard.read(folder) == ModelCard.of(base, MostlyAscii())
        assert not (folder / "ref").exists()
        assert not (folder / "training_args.bin").exists()
    assert not (finished.checkpoints_folder / "README.md").exists()


def test_pass_at_k_is_measured_before_and_after(finished):
    rows = finished.read_pass_at_k()
    assert rows.keys() == {0, 4}
    assert all((row["k"], row["n"], len(row["right"])) == (4, 4, 4) for row in rows.values())


def test_the_run_is_selected_and_merged_as_any_other(finished):
    selection = select(finished.path)
    assert selection.merged_agrees.holds
    assert selection.chosen.exact_match.value == max(
        score["exact_match"] for score in finished.read_scores().values()
    )


def test_a_report_of_the_run_can_be_written(finished, tmp_path):
    written = write_report([finished.path], tmp_path / "report.html")
    assert "Sampled replies" in written.read_text(encoding="utf-8")


@pytest.mark.parametrize("describe", [plan, preview])
def test_plan_and_preview_say_that_they_describe_imitation(base, describe):
    with pytest.raises(ConfigError, match="describes training by imitation"):
        describe(recipe_of(base))


def test_rewarded_replies_become_frequent(base, tmp_path):
    config = recipe_of(
        base,
        lora={"r": 8},
        optim__learning_rate=3e-3,
        optim__batch_size=32,
        optim__accumulation=1,
        optim__max_steps=24,
        grpo__group_size=8,
        eval__steps=24,
        save__steps=24,
    )
    run = RunFolder(train(config, tmp_path / "run"))
    before, after = (run.read_pass_at_k()[step]["pass_at_1"] for step in (0, 24))
    rewards = [row["reward"] for row in run.read_metrics() if "reward" in row]
    assert after > before + 0.15
    assert sum(rewards[-8:]) > sum(rewards[:8]) + 1.0


class Killed(Exception):  # noqa: N818 - it stands for a signal
    """The end of a process."""


def killed_and_resumed(config: Config, out: Path, *, step: int) -> RunFolder:
    """A run whose process ended at the log of `step`, before its checkpoint, and that went on."""

    def kill(row: dict[str, Any]) -> None:
        if row["step"] == step and "loss" in row:
            raise Killed

    with pytest.raises(Killed):
        train(config, out, on_log=kill)
    return RunFolder(train(config, out, resume=True))


def require_same_end(resumed: RunFolder, whole: RunFolder) -> None:
    assert same(weights_of(resumed.checkpoints()[-1].path), weights_of(whole.checkpoints()[-1].path))
    timeless = ("step", "loss", "reward", "kl", "entropy", "eval_exact_match", "learning_rate")
    logs = [[[row.get(key) for key in timeless] for row in run.read_metrics()] for run in (resumed, whole)]
    assert logs[0] == logs[1]


def test_a_killed_run_resumes_to_the_weights_and_rewards_of_an_uninterrupted_run(finished, base, tmp_path):
    require_same_end(killed_and_resumed(recipe_of(base, grpo__beta=0.05), tmp_path / "run", step=3), finished)


MOMENTS = {
    "while replies are sampled": (Rollout, "_sample", 4, 3),
    "while a step is computed": (VerifiedGRPOTrainer, "compute_loss", 10, 5),
    "in the evaluation of a step that is not saved": (AnswerEvaluator, "evaluate", 2, 2),
    "in the evaluation before the first step": (AnswerEvaluator, "evaluate", 1, 0),
    "in a save": (VerifiedGRPOTrainer, "save_model", 2, 4),
    "in a log row": (VerifiedGRPOTrainer, "log", 3, 3),
}
"""A method, at which of its calls a signal comes, and the step that is saved then."""


def rare_rows(base: str) -> Config:
    """A log row each three steps, an evaluation each two, a checkpoint each four."""
    return recipe_of(
        base, optim__max_steps=6, eval__log_steps=3, save__steps=4, eval__exact_match=4, grpo__pass_at_k=0
    )


@pytest.fixture(scope="module")
def whole(base, tmp_path_factory) -> RunFolder:
    return RunFolder(train(rare_rows(base), tmp_path_factory.mktemp("runs") / "whole"))


@pytest.mark.parametrize(("owner", "name", "call", "saved"), MOMENTS.values(), ids=MOMENTS)
def test_ctrl_c_loses_no_whole_step_and_changes_nothing(whole, base, tmp_path, owner, name, call, saved):
    with pytest.raises(KeyboardInterrupt), signal_at(owner, name, call):
        train(rare_rows(base), tmp_path / "run")
    run = RunFolder(tmp_path / "run")
    assert run.saved_step == saved
    train(rare_rows(base), run.path)
    require_same_end(run, whole)
    assert rows(run) == rows(whole)
    assert run.replies.read_text() == whole.replies.read_text()
    assert [c.step for c in run.checkpoints()] == [c.step for c in whole.checkpoints()]


def test_a_damaged_checkpoint_is_left_out_where_the_run_goes_on(finished, tmp_path):
    run = RunFolder(Path(shutil.copytree(finished.path, tmp_path / "run")))
    with (run.checkpoints()[-1].path / "optimizer.pt").open("r+b") as file:
        file.seek(-200, os.SEEK_END)
        file.write(b"damage")
    start = starting_point(run)
    assert start.step == 2
    assert "optimizer.pt is not as it was written" in start.left_out[0]


def test_pass_at_k_after_the_training_is_measured_again_where_its_sampling_was_interrupted(
    finished, base, tmp_path
):
    run = RunFolder(Path(shutil.copytree(finished.path, tmp_path / "run")))
    whole, log = run.read_pass_at_k(), run.metrics.read_text()
    run.pass_at_k.unlink()
    run.append_pass_at_k(whole[0])
    train(recipe_of(base, grpo__beta=0.05), run.path)
    assert run.read_pass_at_k() == whole
    assert run.metrics.read_text() == log


def two_epochs(base: str) -> Config:
    """Two steps an epoch, each saved; nothing is evaluated."""
    return recipe_of(
        base,
        data__count=4,
        optim__batch_size=4,
        save__steps=1,
        eval__steps=4,
        eval__exact_match=0,
        grpo__pass_at_k=0,
    )


def test_a_run_resumed_in_its_second_epoch_asks_the_same_problems(base, tmp_path):
    whole = RunFolder(train(two_epochs(base), tmp_path / "whole"))
    require_same_end(killed_and_resumed(two_epochs(base), tmp_path / "run", step=4), whole)


def test_training_goes_on_from_the_adapter_of_a_run(finished, base, tmp_path):
    select(finished.path)
    config = recipe_of(base, train__start_from=str(finished.path), lora__r=2, optim__max_steps=1)
    run = RunFolder(train(config, tmp_path / "run"))
    assert same(weights_of(run.checkpoints()[0].path), weights_of(finished.adapter))
    assert "r = 4" in run.config.read_text()
    assert not same(weights_of(run.checkpoints()[-1].path), weights_of(finished.adapter))


def test_imitation_goes_on_from_an_adapter_too(finished, base, tmp_path):
    start = finished.checkpoints()[-1].path
    config = recipe_of(
        base,
        train__method="sft",
        train__start_from=str(start),
        task={"name": "dyck", "style": "stack", "max_length": 4},
        optim__max_steps=1,
        eval__exact_match=0,
    )
    run = RunFolder(train(config, tmp_path / "run"))
    moved, began = weights_of(run.checkpoints()[-1].path), weights_of(start)
    assert not same(moved, began)
    assert all((moved[name] - began[name]).abs().max() < 0.05 for name in began)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"train__start_from": "nowhere"}, "train.start_from = 'nowhere' holds no adapter"),
        ({"optim__batch_size": 3}, "6 replies .* no multiple of grpo.group_size = 4"),
        (
            {"data__count": 3},
            r"a step asks 4 problems \(16 replies .*\), and 3 can be asked; .* \(data\.count\)",
        ),
        ({"grpo__reward": "dense"}, "task mostly_ascii verifies answers only; set grpo.reward = 'binary'"),
    ],
)
def test_a_recipe_that_cannot_be_used_is_refused_in_one_line(base, tmp_path, overrides, message):
    with pytest.raises(ConfigError, match=message) as caught:
        train(recipe_of(base, **overrides), tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert not RunFolder(tmp_path / "run").started


def test_a_problem_over_the_context_of_the_model_is_refused_before_the_first_step(
    base, tmp_path, monkeypatch
):
    def messages(self, item: Number) -> list[Message]:
        return [{"role": "user", "content": "9" * (3000 if item == longest else 1)}]

    longest = max(task_of(recipe_of(base)).items("train", count=64), key=lambda item: item.number)
    monkeypatch.setattr(MostlyAscii, "messages", messages)
    with pytest.raises(ItemError, match=r"too long for the model in training: .* the model reads 2048"):
        train(recipe_of(base), tmp_path / "run")
    assert not RunFolder(tmp_path / "run").started


def test_an_adapter_of_another_base_is_refused_by_both_names(finished, tmp_path):
    tokenizer = make_tokenizer()
    make_model(tokenizer, seed=1).save_pretrained(tmp_path / "other")
    tokenizer.save_pretrained(tmp_path / "other")
    start = str(finished.checkpoints()[-1].path)
    with pytest.raises(ConfigError, match=r"was trained on .*base.* and model\.base is .*other"):
        train(recipe_of(str(tmp_path / "other"), train__start_from=start), tmp_path / "run")


def test_without_trl_the_error_names_the_extra(base, tmp_path, monkeypatch):
    from dycktune.training.grpo import requirements

    monkeypatch.setattr(requirements, "find_spec", lambda name: None if name == "trl" else object())
    with pytest.raises(ConfigError, match=r"needs trl: pip install 'dycktune\[rl\]'"):
        train(recipe_of(base), tmp_path / "run")


class Hopeless(MostlyAscii):
    """No reply is right."""

    name: ClassVar[str] = "hopeless"

    def verify(self, item: Number, reply: str) -> Verdict:
        return replace(super().verify(item, reply), correct=False)


def test_a_binary_reward_is_refused_where_no_sampled_reply_is_right(base, tmp_path, monkeypatch):
    monkeypatch.setitem(registry._REGISTERED, "hopeless", Hopeless)
    told = []
    with pytest.raises(ConfigError, match="pass@4 is 0: none of 16 sampled replies is right"):
        train(recipe_of(base, task__name="hopeless"), tmp_path / "run", on_event=told.append)
    assert any(isinstance(event, Sampled) and event.row["pass_at_k"] == 0.0 for event in told)


def test_the_guard_rolls_back_a_step_whose_gradient_is_not_finite(base, tmp_path, monkeypatch):
    original = VerifiedGRPOTrainer.compute_loss

    def spoilt(self, *args, **kwargs):
        loss = original(self, *args, **kwargs)
        return loss * float("nan") if self.state.global_step == 1 else loss

    monkeypatch.setattr(VerifiedGRPOTrainer, "compute_loss", spoilt)
    run = RunFolder(train(recipe_of(base), tmp_path / "run"))
    (event,) = run.read_guard_events()
    assert (event["action"], event["reason"], event["step"]) == ("rolled back", "non_finite", 2)
    assert all(tensor.isfinite().all() for tensor in weights_of(run.checkpoints()[-1].path).values())


def test_a_rise_of_the_loss_is_no_reason_for_the_guard(base, tmp_path, monkeypatch):
    original = VerifiedGRPOTrainer.compute_loss

    def risen(self, *args, **kwargs):
        return original(self, *args, **kwargs) + self.state.global_step

    monkeypatch.setattr(VerifiedGRPOTrainer, "compute_loss", risen)
    run = RunFolder(
        train(recipe_of(base, optim__max_steps=20, eval__steps=20, save__steps=20), tmp_path / "run")
    )
    assert list(run.read_guard_events()) == []


def test_the_weights_of_the_rewards_follow_the_schedule(base, tmp_path):
    config = replace(
        recipe_of(base), task=replace(recipe_of(base).task, name="arithmetic", options={"max_operations": 2})
    )
    config = replace(config, grpo=replace(config.grpo, reward="dense_to_binary", pass_at_k=0))
    items = list(task_of(config).items("train", count=16))
    model, tokenizer = make_model(make_tokenizer()), make_tokenizer()
    trainer = grpo_run.make_grpo_trainer(config, model, tokenizer, items, RunFolder(tmp_path))
    seen = []
    for share in (0.0, 0.25, 0.5, 1.0):
        trainer.set_reward_weights(share)
        seen.append(trainer.reward_weights.tolist()[-1])
    assert seen == [1.0, 0.5, 0.0, 0.0]


def test_probabilities_are_computed_in_the_recipes_precision_and_kept_in_float32(base, tmp_path):
    ids = torch.randint(1, 200, (2, 12), generator=torch.Generator().manual_seed(0))
    found = {}
    for precision in ("float32", "bfloat16"):
        config = recipe_of(base, optim={**vars(recipe_of(base).optim), "precision": precision})
        model, tokenizer = make_model(make_tokenizer()), make_tokenizer()
        items = list(task_of(config).items("train", count=16))
        trainer = grpo_run.make_grpo_trainer(config, model, tokenizer, items, RunFolder(tmp_path / precision))
        logps, *_ = trainer._get_per_token_logps_and_entropies(trainer.model, ids, torch.ones_like(ids), 6)
        found[precision] = logps.detach()
    assert all(logps.dtype == torch.float32 for logps in found.values())
    assert not torch.equal(*found.values())
    torch.testing.assert_close(*found.values(), atol=0.05, rtol=0.05)


@pytest.mark.parametrize("together", [True, False])
def test_packed_replies_have_the_probabilities_entropies_and_gradients_of_padded_ones(
    base, tmp_path, monkeypatch, together
):
    packs = []
    monkeypatch.setattr(packed_replies, "pack", lambda batch: packs.append(pack(batch)) or packs[-1])
    ids = torch.randint(1, 200, (4, 15), generator=torch.Generator().manual_seed(0))
    mask, common = torch.ones_like(ids), ids[0, 3:6].clone()
    for row, (left, right) in enumerate([(3, 0), (3, 4), (0, 7), (1, 8)]):
        ids[row, left : left + len(common)] = common
        mask[row, :left] = 0
        mask[row, 15 - right :] = 0
    found = []
    for packed in (True, False):
        config = recipe_of(base, optim={**vars(recipe_of(base).optim), "packed": packed})
        items = list(task_of(config).items("train", count=16))
        torch.manual_seed(1)
        run = RunFolder(tmp_path / str(packed))
        trainer = grpo_run.make_grpo_trainer(
            config, make_model(make_tokenizer()), make_tokenizer(), items, run
        )
        assert trainer._packed is packed
        logps, entropies, _ = trainer._get_per_token_logps_and_entropies(
            trainer.model, ids, mask, 8, batch_size=4 if together else 3, compute_entropy=True
        )
        scored = mask[:, -8:]
        ((logps + 0.1 * entropies) * scored).sum().backward()
        assert trainer.model is not None
        gradients = [p.grad for p in trainer.model.parameters() if p.grad is not None]
        found.append([logps.detach() * scored, entropies.detach() * scored, *gradients])
    assert packs[0].layout.shared == len(common)
    assert len(found[0]) > 4
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-3)


def test_a_checkpoint_that_cannot_be_written_does_not_cost_the_one_before(base, tmp_path, monkeypatch):
    written = []

    def seal_until_the_disk_is_full(folder):
        written.append(folder.name)
        if len(written) == 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        seal(folder)

    monkeypatch.setattr(resumable, "seal", seal_until_the_disk_is_full)
    with pytest.raises(RunError, match="the checkpoints before it are kept"):
        train(recipe_of(base, save__keep=1), tmp_path / "run")
    run = RunFolder(tmp_path / "run")
    assert written == ["checkpoint-0", "checkpoint-2", "checkpoint-4"]
    assert [checkpoint.step for checkpoint in run.checkpoints()] == [2]
    assert starting_point(run).step == 2


def test_nothing_is_told_to_the_makers_of_trl(base, tmp_path, monkeypatch):
    told = []
    monkeypatch.delenv("CI", raising=False)  # there, TRL tells nothing either
    monkeypatch.setattr("trl.trainer.base_trainer.send_telemetry", lambda **what: told.append(what))
    items = list(task_of(recipe_of(base)).items("train", count=16))
    grpo_run.make_grpo_trainer(
        recipe_of(base), make_model(make_tokenizer()), make_tokenizer(), items, RunFolder(tmp_path)
    )
    assert told == []


def test_the_manifest_says_which_problems_were_asked(finished):
    manifest = json.loads(finished.manifest.read_text())
    assert manifest["training_items"]["items"] == 64
    assert len(manifest["training_items"]["sha256"]) == 64


def test_a_finished_run_is_not_trained_again(finished, base):
    before = finished.metrics.read_text()
    train(recipe_of(base, grpo__beta=0.05), finished.path)
    assert finished.metrics.read_text() == before
    with pytest.raises(RunError, match="already holds a run"):
        train(recipe_of(base, grpo__beta=0.05), finished.path, resume=False)

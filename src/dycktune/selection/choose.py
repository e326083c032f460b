"""Choose the checkpoint of a run to deploy, copy its adapter, merge it, and prove that the two agree."""

import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

from dycktune import ranks
from dycktune.checkpoints import MODEL_FILES, Checkpoint, damage
from dycktune.errors import ModelError, RunError
from dycktune.evaluation.agreement import Agreement, prove
from dycktune.evaluation.distributed import evaluate_distributed
from dycktune.evaluation.metrics import Answers
from dycktune.evaluation.wrong_replies import joined, wrong_replies
from dycktune.files import read_json, replacing
from dycktune.inference.completion import PromptBuilder
from dycktune.models.adapters import NotFiniteError
from dycktune.models.loading import Dtype, load
from dycktune.models.merging import merge
from dycktune.records import ScoreRow, SelectionRecord, WrongReplyRecord
from dycktune.runs import RunFolder
from dycktune.selection.rank import Criterion, Score, has_lost, indistinguishable, rank
from dycktune.tasks.base import Item, Task
from dycktune.training import recipe
from dycktune.training.examples import eval_examples
from dycktune.training.resuming import only_launch

PROOF_PROMPTS = 16
"""Evaluation prompts on which base + adapter and the merged model must write the same text."""

OnProgress = Callable[[str], None]
"""Called with a line for each checkpoint that was scored."""

OnAnswer = Callable[[str, int, int], None]
"""Called with the name of a checkpoint, its answered questions and all its questions, on this rank."""


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Which checkpoint is deployed, and the evidence."""

    by: Criterion
    ranked: tuple[Score, ...]
    """Best first."""
    merged_agrees: Agreement

    @property
    def chosen(self) -> Score:
        """The score of the deployed checkpoint."""
        return self.ranked[0]

    @property
    def indistinguishable(self) -> list[int]:
        """Steps whose answers differ from the chosen one's by no more than chance."""
        return indistinguishable(self.chosen, self.ranked)

    def reason(self) -> str:
        """Why this checkpoint, in a sentence or two."""
        reason = f"{self.chosen.summary()}."
        if not self.indistinguishable:
            return reason
        steps = ", ".join(map(str, sorted(self.indistinguishable)))
        are = "Step {} is" if len(self.indistinguishable) == 1 else "Steps {} are"
        return f"{reason} {are.format(steps)} not significantly different on these items."

    def to_record(self) -> SelectionRecord:
        """The content of selection.json."""
        return {
            "step": self.chosen.step,
            "checkpoint": self.chosen.path.name,
            "by": self.by,
            "exact_match": self.chosen.exact_match.value,
            "ci95": list(self.chosen.exact_match.ci95),
            "n": self.chosen.exact_match.n,
            "eval_loss": self.chosen.eval_loss,
            "not_told_apart": self.indistinguishable,
            "reason": self.reason(),
            "merged_agrees": self.merged_agrees.to_record(),
        }


def select(
    path: Path | str,
    *,
    by: Criterion | None = None,
    on_progress: OnProgress = lambda _: None,
    on_answer: OnAnswer = lambda *_: None,
) -> Selection:
    """Score a run's checkpoints on its eval items and deploy the best.

    Writes scores.jsonl, selection.json, adapter/ and merged/ into the run folder. The ranks of a launch share the
    items; rank 0 does the rest.

    Args:
        path: The run folder.
        by: The criterion; the recipe's choice when None.
        on_progress: Called with a line for each checkpoint that was scored.
        on_answer: Called while a checkpoint answers, with its name, the answered questions and all questions.

    Raises:
        RunError: the folder is no run, or holds no whole checkpoint.
        ModelError: the merged model writes other texts than base + adapter.
    """
    ranks.initialize()
    run = RunFolder(Path(path))
    if not run.checkpoints_folder.is_dir():
        raise _without_checkpoint(run)
    with only_launch(run.path):
        return _select(run, by, on_progress, on_answer)


def _select(run: RunFolder, by: Criterion | None, on_progress: OnProgress, on_answer: OnAnswer) -> Selection:
    known = ranks.on_main(lambda: _known(run, on_progress))
    config = recipe.load(run.config)
    task = recipe.task_of(config)
    items = [example.item for example in eval_examples(config)[: config.select.count] if example.item]
    criterion = by or config.select.by
    replies = _replies_by_key(known, items)
    ranked = rank(_scores(known, task, items, replies, on_progress, on_answer), criterion)

    def deploy() -> Selection:
        _write_scores(run, ranked, known)
        earlier = nearest_replies(replies, ranked[0].step)
        agrees = _write_models(
            run, ranked[0], config.select.merged_dtype, task, items[:PROOF_PROMPTS], earlier
        )
        selection = Selection(by=criterion, ranked=tuple(ranked), merged_agrees=agrees)
        run.write_selection(selection.to_record())
        return selection

    return ranks.on_main(deploy)


class _Known(NamedTuple):
    """The content of a run folder before the selection."""

    checkpoints: list[Checkpoint]
    losses: dict[int, float]
    """Evaluation losses, by step."""
    scores: dict[int, ScoreRow]
    """Answers from the training, by step."""
    replies: dict[int, list[str]]
    """The texts of these answers, by step."""


Replies = dict[int, dict[str, str]]
"""By step: the replies of its model by the items' keys."""


def _replies_by_key(known: _Known, items: Sequence[Item]) -> Replies:
    return {
        step: {item.key: text for item, text in zip(items, texts, strict=False)}
        for step, texts in known.replies.items()
    }


def nearest_replies(replies: Replies, step: int) -> dict[str, str]:
    """For each item, the reply at the step nearest to `step` of those that have one; the likely reply at `step`."""
    nearest: dict[str, str] = {}
    for other in sorted(replies, key=lambda other: abs(other - step), reverse=True):
        nearest |= replies[other]
    return nearest


def _known(run: RunFolder, on_progress: OnProgress) -> _Known:
    checkpoints = []
    for found in run.checkpoints():
        fault = damage(found.path, MODEL_FILES)
        if fault is None:
            checkpoints.append(found)
        else:
            on_progress(f"{found.path.name}: left out ({fault})")
    if not checkpoints:
        raise _without_checkpoint(run)
    return _Known(checkpoints, _eval_losses(run), run.read_scores(), run.read_replies())


def _without_checkpoint(run: RunFolder) -> RunError:
    return RunError(
        f"{run.path} holds no whole checkpoint; train first: dycktune train RECIPE --out {run.path}"
    )


def _write_scores(run: RunFolder, ranked: Sequence[Score], known: _Known) -> None:
    """Write all scores; steps without a checkpoint keep their scores from training."""
    rows = known.scores | {score.step: score.to_row() for score in ranked}
    run.write_scores(rows[step] for step in sorted(rows))


def _write_models(
    run: RunFolder,
    chosen: Score,
    dtype: Dtype,
    task: Task,
    items: Sequence[Item],
    earlier: Mapping[str, str],
) -> Agreement:
    """Write adapter/ and merged/; neither changes if the two do not agree."""
    with replacing(run.adapter) as adapter, replacing(run.merged) as merged:
        _copy_adapter(chosen.path, adapter)
        merge(adapter, merged, dtype=dtype)
        return _prove(adapter, merged, task, items, earlier)


def _scores(
    known: _Known,
    task: Task,
    items: Sequence[Item],
    replies: Replies,
    on_progress: OnProgress,
    on_answer: OnAnswer,
) -> list[Score]:
    """Every checkpoint's score, the most promising first. A checkpoint that has lost gets no more items.

    New replies are added to `replies`, the drafts of the next ones.

    Raises:
        RunError: the weights of every checkpoint are not finite.
    """
    found = {c.step: _stored(known.scores.get(c.step), len(items)) for c in known.checkpoints}
    scores: list[Score] = []
    for checkpoint in sorted(known.checkpoints, key=lambda c: _wrong(found[c.step].answers)):
        try:
            judged = _judged(checkpoint, found[checkpoint.step], task, items, scores, replies, on_answer)
        except NotFiniteError as error:
            on_progress(f"{checkpoint.path.name}: left out ({error})")
            continue
        scores.append(
            Score(
                step=checkpoint.step,
                path=checkpoint.path,
                correct=judged.answers.correct,
                trace_valid=judged.answers.trace_valid,
                eval_loss=known.losses.get(checkpoint.step),
                wrong_replies=judged.wrong_replies,
            )
        )
        on_progress(scores[-1].summary())
    if not scores:
        raise RunError("no checkpoint has finite weights; train again with a lower optim.learning_rate")
    return scores


class _Judged(NamedTuple):
    """A checkpoint's verified answers."""

    answers: Answers
    wrong_replies: tuple[WrongReplyRecord, ...]
    """A few of the wrong ones."""


def _judged(
    checkpoint: Checkpoint,
    known: _Judged,
    task: Task,
    items: Sequence[Item],
    scores: Sequence[Score],
    replies: Replies,
    on_answer: OnAnswer,
) -> _Judged:
    """The known answers of a checkpoint and, unless it has lost already, its answers to the other items."""
    correct = known.answers.correct
    missing = items[len(correct) :]
    complete = [score.correct for score in scores if len(score.correct) == len(items)]
    if not missing or any(has_lost(correct, other) for other in complete):
        return known
    show = partial(on_answer, checkpoint.path.name)
    questions = len(ranks.shard(missing))
    show(0, questions)
    found = evaluate_distributed(
        lambda: load(checkpoint.path),
        task,
        missing,
        on_reply=lambda answered: show(answered, questions),
        earlier=nearest_replies(replies, checkpoint.step),
    )
    replies[checkpoint.step] = replies.get(checkpoint.step, {}) | found.replies
    return _Judged(
        known.answers.followed_by(found.answers),
        joined(known.wrong_replies, wrong_replies(task, found.completions)),
    )


def _wrong(answers: Answers) -> float:
    """Share of wrong answers; 0 for a checkpoint without answers."""
    return answers.correct.count(False) / max(1, len(answers.correct))


def _stored(row: ScoreRow | None, count: int) -> _Judged:
    """The answers to the first `count` items that a line of scores.jsonl holds."""
    if row is None:
        return _Judged(Answers(), ())
    known = min(row["n"], count)
    answers = Answers(
        _true_except(row["wrong"], known), _true_except(row["invalid"], known) if "invalid" in row else ()
    )
    return _Judged(answers, tuple(row.get("wrong_replies", ())))


def _true_except(listed: Sequence[int], count: int) -> tuple[bool, ...]:
    """`count` times True, except at the listed indices."""
    excepted = set(listed)
    return tuple(i not in excepted for i in range(count))


def _eval_losses(run: RunFolder) -> dict[int, float]:
    """Finite eval losses by step. The first of two at one step counts: the second may be of a reloaded model."""
    losses: dict[int, float] = {}
    for row in read_json(run.trainer_state).get("log_history", []):
        loss = row.get("eval_loss")
        if loss is not None and math.isfinite(loss):
            losses.setdefault(row["step"], loss)
    return losses


def _copy_adapter(checkpoint: Path, out: Path) -> None:
    out.mkdir()
    for name in MODEL_FILES:
        shutil.copy2(checkpoint / name, out / name)


def _prove(
    adapter: Path, merged: Path, task: Task, items: Sequence[Item], earlier: Mapping[str, str]
) -> Agreement:
    found = prove(
        adapter, merged, lambda whole: list(map(PromptBuilder(whole, task, earlier=earlier), items))
    )
    if not found.holds:
        raise ModelError(f"the merged model is not base + adapter: {found}; nothing was selected")
    return found

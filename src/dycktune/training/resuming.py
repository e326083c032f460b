"""Where a training begins: at its newest whole checkpoint, and alone in its run folder."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from dycktune import ranks
from dycktune.checkpoints import SEAL, STATE, Checkpoint, checkpoints_in, damage, seal
from dycktune.errors import RunError
from dycktune.files import read_json, remove_abandoned
from dycktune.locks import one_process
from dycktune.runs import RunFolder, open_run, refuse_foreign
from dycktune.training import recipe
from dycktune.training.config import Config
from dycktune.training.events import OnEvent, notify
from dycktune.training.resumable import STATE_NAME


class StartingPoint(NamedTuple):
    """The state that a training starts from."""

    step: int
    checkpoint: Path | None
    """None: the base, without steps."""
    evaluation_due: bool
    """Whether the evaluation of the step was stopped, and is repeated."""
    left_out: tuple[str, ...]
    """Newer checkpoints that are damaged, and their faults."""


def starting_point(run: RunFolder) -> StartingPoint:
    """The newest checkpoint whose files are all as they were written; it is sealed if a kill came before its seal."""
    left_out = []
    for found in _newest_first(run):
        fault = damage(found.path)
        if fault is None:
            _finish_seal(found.path)
            due = _stored_log(found.path).get("evaluation_due", False)
            return StartingPoint(found.step, found.path, due, tuple(left_out))
        left_out.append(f"{found.path} is left out: {fault}")
    return StartingPoint(0, None, evaluation_due=False, left_out=tuple(left_out))


def _finish_seal(checkpoint: Path) -> None:
    """Finish what a kill has interrupted: the seal itself, or the removal of what it was written with."""
    remove_abandoned(checkpoint / SEAL)
    if not (checkpoint / SEAL).is_file():
        seal(checkpoint)


@contextmanager
def opened_run(out: Path, config: Config, *, resume: bool) -> Iterator[RunFolder]:
    """The run folder, made and locked by rank 0, new or that of an earlier run with the same recipe.

    Raises:
        RunError: the folder cannot be used, or another process or launch works on it.
    """
    ranks.initialize()
    ranks.on_main(lambda: _make_folder(out))
    with only_launch(out):
        recipes = {"config_toml": recipe.to_toml(config), "defaults_toml": recipe.to_toml(Config())}
        yield ranks.on_main(lambda: open_run(out, resume=resume, **recipes))


def _make_folder(out: Path) -> None:
    refuse_foreign(out)
    out.mkdir(parents=True, exist_ok=True)


def is_finished(run: RunFolder, on_event: OnEvent | None) -> bool:
    """Whether a run has reached its end, and nothing is left to measure; if so, a notice says it."""
    finished = ranks.on_main(lambda: is_trained(run) and not _lacks_pass_at_k(run))
    if finished:
        notify(on_event, f"{run.path}: the training is finished; its checkpoints stay as they are")
    return finished


def is_trained(run: RunFolder) -> bool:
    """Whether the training of a run has reached its end."""
    return run.finished and run.has_summary


def _lacks_pass_at_k(run: RunFolder) -> bool:
    """Whether a trained run has sampled replies of its start, and none of its end."""
    measured = run.read_pass_at_k()
    return 0 in measured and run.checkpoints()[-1].step not in measured


def announce(run: RunFolder, start: StartingPoint, on_event: OnEvent | None) -> None:
    """Tell a person where a resumed run goes on, and which checkpoints are left out."""
    for line in start.left_out:
        notify(on_event, line)
    if start.checkpoint is not None:
        notify(
            on_event,
            f"{run.path} holds an unfinished run of this recipe: going on from {start.checkpoint.name}",
        )
    elif start.left_out:
        notify(on_event, f"{run.path} holds no whole checkpoint: starting again from step 0")


def earlier_manifest(run: RunFolder) -> dict[str, Any]:
    """The manifest of the run's earlier start; empty where there is none, or it is damaged."""
    try:
        return read_json(run.manifest) if run.manifest.is_file() else {}
    except RunError:
        return {}


def require_same_data(run: RunFolder, earlier: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuse to go on with other training data. Raises RunError: the digests of the two manifests differ."""
    before, after = map(_data_sha256, (earlier, now))
    if before and after and before != after:
        raise RunError(
            f"{run.path}: the training data has changed since the run started (sha256 {before[:12]} was, {after[:12]} "
            "is); restore it, or name another folder with --out"
        )


def kept_precision(earlier: Mapping[str, Any], *, bfloat16: bool) -> bool:
    """Whether to compute in bfloat16: as before where a run is resumed, since `auto` may choose differently now."""
    return ranks.on_main(lambda: earlier.get("bfloat16", bfloat16))


def _data_sha256(manifest: Mapping[str, Any]) -> str | None:
    return (manifest.get("training_ids") or manifest.get("training_items") or {}).get("sha256")


@contextmanager
def only_launch(folder: Path) -> Iterator[None]:
    """Let no other process or launch work on a run folder; the main rank holds the lock.

    Raises:
        RunError: another one works on it.
    """
    with ExitStack() as held:
        ranks.on_main(lambda: held.enter_context(one_process(folder)))
        yield


def _newest_first(run: RunFolder) -> list[Checkpoint]:
    stopped, regular = map(checkpoints_in, (run.stopped_folder, run.checkpoints_folder))
    # The sort is stable: of two of the same step, the regular one comes first.
    return sorted([*regular, *stopped], key=lambda found: found.step, reverse=True)


def _stored_log(checkpoint: Path) -> dict:
    return read_json(checkpoint / STATE).get("stateful_callbacks", {}).get(STATE_NAME, {})

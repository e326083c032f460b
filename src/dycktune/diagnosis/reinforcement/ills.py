"""The findings that can decide the label of a run of reinforcement learning."""

import math
from collections.abc import Iterator

import numpy as np

from dycktune.diagnosis.curves import Series
from dycktune.diagnosis.finding import Finding, beyond, counted
from dycktune.diagnosis.metrics import Metric
from dycktune.diagnosis.reinforcement.falls import collapse
from dycktune.diagnosis.reinforcement.rewards import Change, Rewards
from dycktune.diagnosis.view import View


def ills(rewards: Rewards, view: View) -> Iterator[Finding]:
    """Each kind of illness once, without those that another one explains."""
    yield from _not_finite(rewards)
    fallen = list(collapse(rewards)) if rewards.count >= rewards.limits.min_rows else []
    yield from fallen
    if fallen:
        return  # silent groups and long replies follow from it
    without_signal = list(_no_signal(rewards))
    yield from without_signal
    if rewards.count < rewards.limits.min_rows:
        return
    yield from _hacking(rewards, view)
    longer = list(_growth(rewards))
    yield from longer
    if not longer and not without_signal:
        yield from _no_gain(rewards, view)


def metric_change(rewards: Rewards, view: View) -> Change | None:
    """The change of the deciding metric, higher being better; None without three trusted evaluations of it."""
    if view.metric is None or view.scores is None or len(view.scores.kept.steps) < rewards.limits.few_rows:
        return None
    return _thirds(view.scores.kept, view.metric)


def _thirds(kept: Series, metric: Metric) -> Change:
    """From the first third of the evaluations to the last: there are too few for fifths."""
    values = kept.values if metric.higher_is_better else -kept.values
    rows = max(1, len(values) // 3)
    error = float(np.std(np.diff(values))) / math.sqrt(
        rows
    )  # of the difference of two means: sigma of a step / sqrt(n)
    return Change(float(values[:rows].mean()), float(values[-rows:].mean()), error, 0.0)


def _not_finite(rewards: Rewards) -> Iterator[Finding]:
    """Rewards, losses or norms that are not finite: in the last row, whose weights stay, or in a tenth of all rows."""
    steps = rewards.broken
    lasts = bool(steps) and steps[-1] >= rewards.last_step
    if not steps or not (lasts or len(steps) > rewards.limits.window * max(rewards.count, 1)):
        return
    yield Finding(
        kind="nan_inf",
        message=f"the reward, the loss or the gradient norm is not finite in {counted(len(steps))}, first at step "
        f"{steps[0]:.0f}",
        first_step=int(steps[0]),
        last_step=int(steps[-1]),
        evidence={"rows": len(steps)},
    )


def _no_signal(rewards: Rewards) -> Iterator[Finding]:
    """Groups whose replies all have the same reward, from the beginning to the end."""
    signal = rewards.signal
    if len(rewards.equal.steps) < rewards.limits.min_signal_rows or not signal < rewards.limits.no_signal:
        return
    yield Finding(
        kind="no_signal",
        message=f"in {100 * (1 - signal):.0f}% of the groups all replies have the same reward, so there was next to "
        f"nothing to learn from: {_why_equal(rewards)}",
        first_step=int(rewards.equal.steps[0]),
        last_step=int(rewards.last_step),
        evidence={"groups_with_signal": signal, "reward": float(rewards.reward.values.mean())},
        confidence=beyond(rewards.limits.no_signal, max(signal, 1e-3)),
    )


def _why_equal(rewards: Rewards) -> str:
    mean = float(rewards.reward.values.mean())
    if len(rewards.truncated.steps) and rewards.truncated.values.mean() > 1 - rewards.limits.fall:
        return f"{100 * rewards.truncated.values.mean():.0f}% of the replies are cut off at the limit"
    if mean >= rewards.limits.solved * rewards.ceiling > 0:
        return f"nearly every reply is right (mean reward {mean:.3g})"
    if mean - rewards.floor <= (1 - rewards.limits.solved) * max(rewards.ceiling - rewards.floor, 1e-9):
        return f"nearly no reply is right (mean reward {mean:.3g})"
    return f"the replies to a problem get one reward, whatever they say (mean reward {mean:.3g})"


def _hacking(rewards: Rewards, view: View) -> Iterator[Finding]:
    """A reward that rises while the answers do not get better."""
    gain = rewards.gain
    if not rewards.rises or gain.size < rewards.limits.clear_gain * rewards.unit:
        return
    held_out = metric_change(rewards, view)
    if held_out is not None and view.metric is not None:
        if not _stands(held_out, view.metric.ceiling, rewards.limits.solved):
            return
        yield _hacked(rewards, view.metric.name, held_out, "on held-out problems")
        return
    for name, part in rewards.answers.items():
        change = rewards.change(part)
        if _stands(change, 1.0, rewards.limits.solved):
            yield _hacked(
                rewards, f"rewards/{name}", change, "the part of the reward that is for right answers"
            )
            return


def _stands(change: Change, ceiling: float | None, solved: float) -> bool:
    """Whether a measure did not rise, though it could have."""
    at_ceiling = ceiling is not None and ceiling > 0 and change.before >= solved * ceiling
    return not at_ceiling and change.size <= change.error


def _hacked(rewards: Rewards, name: str, change: Change, role: str) -> Finding:
    gain = rewards.gain
    verb = "fell" if change.size < -change.error else "stayed"
    levels = f"from {change.before:.3g} to {change.after:.3g}" if verb == "fell" else f"at {change.after:.3g}"
    return Finding(
        kind="reward_hacking",
        message=f"the reward rose from {gain.before:.3g} to {gain.after:.3g}, but {name}, {role}, {verb} {levels}: the "
        "model learned to please the reward, not to answer",
        first_step=int(rewards.reward.steps[0]),
        last_step=int(rewards.last_step),
        evidence={"reward_gain": gain.size, "answers_before": change.before, "answers_after": change.after},
        confidence=beyond(gain.size, rewards.limits.gain * rewards.unit),
    )


def _growth(rewards: Rewards) -> Iterator[Finding]:
    """Replies that grow, or are cut off more and more, while the reward does not rise."""
    if rewards.rises:
        return
    length, cut = rewards.change(rewards.length), rewards.change(rewards.truncated)
    factor = length.after / length.before if length.before > 0 else math.nan
    grew = factor >= rewards.limits.growth and rewards.is_sure(length)
    is_cut = cut.size >= rewards.limits.truncated and rewards.is_sure(cut)
    if not grew and not is_cut:
        return
    words = (
        [f"the replies grew from {length.before:.0f} to {length.after:.0f} tokens"]
        if length.before > 0
        else []
    )
    if is_cut or cut.after >= rewards.limits.many_truncated:
        words.append(
            f"{100 * cut.after:.0f}% of them are cut off at the limit (at first {100 * cut.before:.0f}%)"
        )
    onset = _onset(rewards.length if grew or not is_cut else rewards.truncated, length if grew else cut)
    yield Finding(
        kind="length_growth",
        message=f"{', and '.join(words)}, while the reward did not rise ({rewards.gain.before:.3g} to "
        f"{rewards.gain.after:.3g})",
        first_step=int(onset),
        last_step=int(rewards.last_step),
        evidence={"length_factor": factor, "truncated": cut.after, "truncated_before": cut.before},
        confidence=max(
            beyond(factor, rewards.limits.growth) if grew else 0.0,
            beyond(cut.size, rewards.limits.truncated) if is_cut else 0.0,
        ),
    )


def _onset(series: Series, change: Change) -> float:
    """The last step at which the series was still within a quarter of its growth from its beginning."""
    low = series.steps[series.values <= change.before + change.size / 4]
    return float(low[-1]) if len(low) else float(series.steps[0])


def _no_gain(rewards: Rewards, view: View) -> Iterator[Finding]:
    """A reward that did not rise, and no held-out measure that did."""
    held_out = metric_change(rewards, view)
    if rewards.rises or (
        held_out is not None and held_out.size > rewards.limits.ends_sigmas * held_out.error
    ):
        return
    gain, limit = rewards.gain, rewards.limits.gain * rewards.unit
    if rewards.limits.sigmas * gain.error > max(rewards.unit, float(np.std(rewards.reward.values))):
        return  # so noisy that even a gain of a whole spread would not show
    fell = gain.size < -limit and rewards.is_sure(gain)
    yield Finding(
        kind="no_gain",
        message=f"the reward {'fell' if fell else 'did not rise beyond its noise'}: it is {gain.before:.3g} in the "
        f"first fifth of the run and {gain.after:.3g} in the last (standard error of the difference {gain.error:.2g})",
        first_step=int(rewards.reward.steps[0]),
        last_step=int(rewards.last_step),
        evidence={"before": gain.before, "after": gain.after, "error": gain.error},
        confidence=beyond(limit, max(gain.size, 0.0)) if gain.size > 0 else 1.0,
    )

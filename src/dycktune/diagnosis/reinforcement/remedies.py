"""What to do next after a run of reinforcement learning, tied to what it logged."""

import math
from collections.abc import Callable, Iterator

from dycktune.diagnosis.diagnosis import Diagnosis
from dycktune.diagnosis.reinforcement.rewards import Rewards

MOST_SAMPLES = 64
"""Replies to a problem beyond which other problems are the better remedy."""


def advise(diagnosis: Diagnosis, rewards: Rewards) -> Iterator[str]:
    """Sentences, the most urgent first, what to deploy left out."""
    yield from CURES.get(diagnosis.label, _nothing)(diagnosis, rewards)
    kinds = {finding.kind for finding in diagnosis.findings}
    if "equal_groups" in kinds and diagnosis.label in ("healthy", "no_gain", "too_short"):
        yield from _group_size(diagnosis, rewards)
    if "constant_reward" in kinds:
        yield (
            "Look at the parts of the reward that never change: ask for their format in the prompt and test them on a "
            "right reply, or drop them."
        )
    if "reference_differs" in kinds:
        yield (
            "Make the reference the weights that the run starts from (merge an earlier adapter into the base), or set "
            "grpo.beta to 0; else the KL term pulls the model back to before that."
        )
    if "no_held_out" in kinds:
        yield "Evaluate exact match on held-out problems during training, and deploy by that."


def samples_for_signal(share_right: float) -> int | None:
    """The smallest group in which, with this share of right replies, half of the groups have right and wrong ones.

    None where more than `MOST_SAMPLES` would be needed. Of a group of n, all are equal with probability
    p^n + (1 - p)^n.
    """
    for count in range(2, MOST_SAMPLES + 1):
        if share_right**count + (1 - share_right) ** count <= 0.5:
            return count
    return None


def _group_size(diagnosis: Diagnosis, rewards: Rewards) -> Iterator[str]:
    """A group size by the share of right replies, as far as the reward is one."""
    own = diagnosis.beside.settings.group_size
    if rewards.floor < 0 or rewards.reward.values.max() > 1:
        yield (
            f"Sample more replies to each problem (grpo.group_size{_now(own)}), or leave out problems that are always "
            "or never solved."
        )
        return
    right = rewards.gain.after
    wanted = samples_for_signal(right)
    if wanted is None:
        rest = "easier" if right < 0.5 else "harder"
        yield (
            f"With {100 * right:.3g}% of the reward no group of up to {MOST_SAMPLES} replies gives signal in half of "
            f"the cases: take {rest} problems{', or train by imitation first' if right < 0.5 else ''}."
        )
    elif own is None or wanted > own:
        yield (
            f"Sample {wanted} replies to each problem or more (grpo.group_size{_now(own)}): with {100 * right:.0f}% of "
            "the reward, half of such groups have right and wrong replies."
        )
    else:
        yield (
            f"Groups of {own:.0f} are large enough for {100 * right:.0f}% of the reward: the problems are either "
            "always or never solved; leave those out, or mix problems of medium difficulty in."
        )


def _now(value: float | None) -> str:
    return f", now {value:.3g}" if value is not None else ""


def _nothing(diagnosis: Diagnosis, rewards: Rewards) -> Iterator[str]:
    del diagnosis, rewards
    yield from ()


def _collapse(diagnosis: Diagnosis, rewards: Rewards) -> Iterator[str]:
    settings = diagnosis.beside.settings
    peak = rewards_peak(diagnosis)
    lower = f" from {peak:.2g} to {peak / 3:.2g}" if math.isfinite(peak) else " to a third"
    yield f"Lower optim.learning_rate{lower} and begin again from the last good checkpoint."
    if not settings.beta:
        yield f"Hold the model near its start: set grpo.beta to 0.04{_now(settings.beta)}."
    else:
        yield f"Hold the model nearer to its start: double grpo.beta (now {settings.beta:.3g})."
    if len(rewards.truncated.values) and rewards.change(rewards.truncated).after > rewards.limits.truncated:
        yield "Mask replies that were cut off, or give them no reward: their end was never scored."


def _hacking(diagnosis: Diagnosis, rewards: Rewards) -> Iterator[str]:
    others = [name for name in rewards.parts if name not in rewards.answers]
    if rewards.answers and others:
        yield f"Pay the other parts only for right answers, or give them less weight: {', '.join(others)}."
    yield (
        "Read twenty replies with a high reward and a wrong answer: they show what the reward pays for. Then close "
        "that hole in the reward."
    )
    beta = diagnosis.beside.settings.beta
    if not beta:
        yield f"A KL term slows such drift: grpo.beta 0.04{_now(beta)}."


def _no_signal(diagnosis: Diagnosis, rewards: Rewards) -> Iterator[str]:
    mean, settings = float(rewards.reward.values.mean()), diagnosis.beside.settings
    if len(rewards.truncated.values) and rewards.truncated.values.mean() > 1 - rewards.limits.fall:
        yield "Raise the limit of the replies' length: the answer comes after it, so the verifier never sees one."
        return
    if mean >= rewards.limits.solved * rewards.ceiling > 0:
        yield "Take harder problems: these are solved, and more steps on them can only do harm."
        return
    yield (
        "Test the reward on a reply that is right: it must differ from that of a wrong one. If it does, take problems "
        "that the model solves sometimes, or train by imitation first."
    )
    yield (
        f"Sample more and more varied replies: grpo.group_size{_now(settings.group_size)}, "
        f"grpo.temperature{_now(settings.temperature)}. A reward for parts of a solution gives signal earlier."
    )


def _growth(diagnosis: Diagnosis, rewards: Rewards) -> Iterator[str]:
    del diagnosis
    yield (
        "Read a few of the longest replies: if they repeat themselves after the answer, reward the end of the reply "
        "(an answer cut off is wrong), and average the loss over all tokens instead of each reply's "
        "(loss_type dr_grpo or dapo in TRL), which does not favour length."
    )
    if rewards.change(rewards.truncated).after >= rewards.limits.many_truncated:
        yield "If they still reason when they are cut off, raise the limit."


def _no_gain(diagnosis: Diagnosis, rewards: Rewards) -> Iterator[str]:
    peak = rewards_peak(diagnosis)
    if peak == 0:
        yield "Set optim.learning_rate above 0: no step changed a weight."
        return
    if rewards.signal < rewards.limits.few_signals and rewards.gain.before > rewards.ceiling / 2:
        yield (
            f"Take harder problems: the reward was {rewards.gain.before:.3g} of {rewards.ceiling:.3g} at the beginning "
            "already, and most groups had nothing to teach."
        )
        return
    if rewards.gain.size >= 0:
        rate = f" (its peak was {peak:.2g}; try 3 and 10 times that)" if math.isfinite(peak) else ""
        yield f"Raise optim.learning_rate{rate}, or train longer: rewards rise over hundreds of steps."
    else:
        yield "Lower optim.learning_rate: the reward went down."
    yield "Take more problems into a step: rewards of few groups are mostly noise, for you and for the gradient."


def rewards_peak(diagnosis: Diagnosis) -> float:
    """The highest learning rate of the log; NaN where it has none."""
    rates = diagnosis.view.curves.lr.values
    return float(rates.max()) if len(rates) else math.nan


def _nan(diagnosis: Diagnosis, rewards: Rewards) -> Iterator[str]:
    del rewards
    first = diagnosis.deciding.first_step if diagnosis.deciding else 0
    step = diagnosis.recommended_step
    if step is None or step < first:  # a measure of answers may show that a later one is sound
        yield f"Do not use a checkpoint from step {first} or later: resume from one before it."
    yield (
        "Train in bf16 rather than fp16, lower optim.learning_rate, and look for a group without spread that is "
        "divided by it, or a reward function that returns NaN."
    )


def _healthy(diagnosis: Diagnosis, rewards: Rewards) -> Iterator[str]:
    del diagnosis
    done = rewards.gain.after >= rewards.limits.solved * rewards.ceiling
    late = rewards.change(rewards.equal).after
    if done and late > 1 - rewards.limits.few_signals:
        yield (
            f"The problems are nearly solved (reward {rewards.gain.after:.3g}, {100 * late:.0f}% of the groups equal "
            "at the end): take harder ones to go on."
        )


def _too_short(diagnosis: Diagnosis, rewards: Rewards) -> Iterator[str]:
    del diagnosis
    yield (
        f"{rewards.count} rows with a reward are too few, or too noisy, to show a trend: log every step, with more "
        "problems in each."
    )


CURES: dict[str, Callable[[Diagnosis, Rewards], Iterator[str]]] = {
    "nan_inf": _nan,
    "collapse": _collapse,
    "reward_hacking": _hacking,
    "no_signal": _no_signal,
    "length_growth": _growth,
    "no_gain": _no_gain,
    "healthy": _healthy,
    "too_short": _too_short,
}

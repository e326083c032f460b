"""What a reader of a log of reinforcement learning should know that does not make the run ill."""

from collections.abc import Iterator

import numpy as np

from dycktune.diagnosis.finding import Finding, change, counted, note
from dycktune.diagnosis.reinforcement.falls import dips
from dycktune.diagnosis.reinforcement.rewards import Rewards
from dycktune.diagnosis.view import View


def remarks(rewards: Rewards, view: View) -> Iterator[Finding]:
    """Every note, in the order a reader wants them."""
    if rewards.count >= rewards.limits.min_rows:
        yield from dips(rewards)
    for check in (_equal_groups, _constant_parts, _reference, _kl, _truncated, _entropy, _off_policy):
        yield from check(rewards)
    if view.metric is None:
        message = "no exact match on held-out problems was logged: a reward can rise without better answers"
        yield note("no_held_out", message, 0, rewards.last_step)


def _equal_groups(rewards: Rewards) -> Iterator[Finding]:
    if rewards.limits.no_signal <= rewards.signal < rewards.limits.few_signals:
        message = (
            f"in {100 * (1 - rewards.signal):.0f}% of the groups all replies have the same reward: the sampling of "
            "these taught nothing"
        )
        yield note("equal_groups", message, 0, rewards.last_step, groups_with_signal=rewards.signal)


def _constant_parts(rewards: Rewards) -> Iterator[Finding]:
    """Parts of the reward with one value throughout, in logs that have several parts."""
    constant = {
        name: float(part.values[0])
        for name, part in rewards.parts.items()
        if len(part.values) >= rewards.limits.min_signal_rows and np.ptp(part.values) == 0
    }
    if not constant or len(rewards.parts) < 2:
        return
    listed = ", ".join(f"rewards/{name} ({value:.3g})" for name, value in constant.items())
    yield note(
        "constant_reward", f"parts of the reward with one value in every row: {listed}", 0, rewards.last_step
    )


def _reference(rewards: Rewards) -> Iterator[Finding]:
    kl = rewards.kl
    is_beginning = len(kl.steps) and kl.steps[0] <= rewards.limits.window * rewards.last_step
    if is_beginning and kl.values[0] > rewards.limits.kl_start:
        message = (
            f"the KL divergence is {kl.values[0]:.3g} at the first row already: the reference is not the model that "
            "the training began with, or the replies were not sampled from it"
        )
        yield note("reference_differs", message, kl.steps[0], kl.steps[0], kl=float(kl.values[0]))


def _kl(rewards: Rewards) -> Iterator[Finding]:
    kl, limits = rewards.kl, rewards.limits
    if len(kl.values) < limits.min_rows:
        return
    level = rewards.change(kl).after
    if level > limits.kl_high:
        message = f"the KL divergence ends at {level:.3g} nats a token: the model is far from its reference"
        yield note("kl_high", message, kl.steps[-1], kl.steps[-1], kl=level)
    usual, worst = float(np.median(kl.values)), int(np.argmax(kl.values))
    if kl.values[worst] > max(limits.kl_spike * usual, limits.kl_start):
        message = (
            f"the KL divergence of step {kl.steps[worst]:.0f} is {kl.values[worst]:.3g} (median {usual:.2g})"
        )
        yield note(
            "kl_spike", message, kl.steps[worst], kl.steps[worst], kl=float(kl.values[worst]), median=usual
        )


def _truncated(rewards: Rewards) -> Iterator[Finding]:
    cut = rewards.change(rewards.truncated)
    if cut.after >= rewards.limits.many_truncated:
        message = (
            f"{100 * cut.after:.0f}% of the replies are cut off at the limit and scored without their end"
        )
        yield note("truncated_replies", message, 0, rewards.last_step, before=cut.before, after=cut.after)


def _entropy(rewards: Rewards) -> Iterator[Finding]:
    """Entropy that moved: sound runs lose some, and the collapses of the real logs gained it first."""
    entropy = rewards.change(rewards.entropy)
    if len(rewards.entropy.values) < rewards.limits.min_rows or not min(entropy.before, entropy.after) > 0:
        return
    ratio = entropy.after / entropy.before
    if 1 / rewards.limits.entropy_change < ratio < rewards.limits.entropy_change:
        return
    meaning = (
        "the replies become random"
        if ratio > 1
        else "usual while the reward rises; else the replies grow alike"
    )
    message = f"the entropy {change(ratio)}, from {entropy.before:.2g} to {entropy.after:.2g} nats a token: {meaning}"
    yield note("entropy", message, 0, rewards.last_step, before=entropy.before, after=entropy.after)


def _off_policy(rewards: Rewards) -> Iterator[Finding]:
    high = rewards.clipped.steps[rewards.clipped.values > rewards.limits.off_policy]
    if len(high):
        message = (
            f"more than {100 * rewards.limits.off_policy:.0f}% of the tokens were clipped in {counted(len(high))}: the "
            "updates go further than the sampled replies support"
        )
        yield note("off_policy", message, high[0], high[-1], worst=float(rewards.clipped.values.max()))

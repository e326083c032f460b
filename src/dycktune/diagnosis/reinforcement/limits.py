"""Every constant of the doctor for reinforcement learning, with the reason for it.

Real logs: those of docs/experiments/doctor-grpo.md.
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Pure numbers; those of rewards are shares of their spread within groups, because a reward has any scale."""

    min_rows: int = 10
    """Rows below which no trend is judged: a fifth of ten is two rows."""

    min_signal_rows: int = 5
    """Rows below which missing signal is not judged: fewer rows than for a trend, as each is a mean over groups."""

    end: float = 0.2
    """Share of the rows that makes a beginning or an end; rewards of single rows scatter by half their spread."""

    few_rows: int = 3
    """The fewest rows that make one."""

    window: float = 0.1
    """Share of the rows under the running mean that is searched for a fall: the quickest collapse of the real logs took
    a tenth of its run."""

    sigmas: float = 3.0
    """Standard errors beyond which a fall or a trend is not noise: three, because a fall is the largest of many, and
    neighbouring rows of a trend are alike."""

    ends_sigmas: float = 2.0
    """The same for the difference of end and beginning, which is one comparison."""

    gain: float = 0.1
    """Smallest gain of reward, as a share of its spread within groups, that is a gain: the slowest of the real logs
    with one, 1,000 steps at a rate of 3e-6, has 0.2."""

    clear_gain: float = 0.25
    """Gain of reward from which exact match must follow: below it, exact match on some hundred items cannot show it."""

    fall: float = 0.25
    """Fall of reward, as a share of what it had above its lowest value, to below its beginning, that is a collapse."""

    deep_fall: float = 0.6
    """The same for a fall that ends above the beginning: problems that come in the same order are easier and harder,
    and in one repository all seeds peak in the middle of the run and end 0.5 lower."""

    no_signal: float = 0.05
    """Share of groups with different rewards below which there is nothing to learn from; the real logs that learned
    had 0.08 and more."""

    few_signals: float = 0.5
    """The same below which more samples of a problem would help: half of the sampling is wasted."""

    growth: float = 2.0
    """Factor of the mean length that is growth: replies that learn to reason grow by half at first."""

    truncated: float = 0.3
    """Rise of the share of replies cut off at the limit that is growth, whatever the mean length, which the limit
    holds; it stays below 0.15 in the real logs that were sound."""

    many_truncated: float = 0.2
    """Share of replies cut off that is worth a note: each is scored without its answer."""

    kl_start: float = 0.1
    """KL of the first row above which the reference is not the model that the training began with: a run that begins
    at its reference logs less than 0.01 there."""

    kl_high: float = 1.0
    """KL, in nats a token, that no sound run of the real logs reached."""

    kl_spike: float = 10.0
    """KL of a row as a multiple of the median; single rows reach this in sound runs, so it is a note."""

    entropy_change: float = 2.0
    """Factor of the entropy worth a note: sound runs lose a third to a half of theirs."""

    off_policy: float = 0.2
    """Share of tokens with a clipped ratio worth a note: PPO's usual range is 0.05 to 0.2."""

    solved: float = 0.95
    """Share of the highest reward that a model must have to be called done."""


DEFAULT = Limits()

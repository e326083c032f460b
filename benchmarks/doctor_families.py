"""Made runs with a known cause: what is rare among real logs, in many shapes and at many noise levels.

Each family is a function of a random generator; it returns log rows, the label the cause calls for, and the steps whose
noise-free eval loss is as good as the best.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Rows = list[dict[str, float]]
Generator = np.random.Generator


@dataclass(kw_only=True)
class Made:
    """One made run."""

    rows: Rows
    label: str
    steps: set[int]
    accepted: set[str] = field(default_factory=set)
    """Labels a careful reader could defend too."""


@dataclass(kw_only=True)
class Truth:
    """Noise-free curves over the share of the run done, and how they are logged."""

    train: np.ndarray
    evals: np.ndarray
    lr: np.ndarray
    log_every: int
    eval_every: int
    train_noise: float
    eval_noise: float
    scale: float = 1.0
    """Train loss in units of the eval loss."""

    def rows(self, rng: Generator) -> Rows:
        """Noisy rows as Trainer logs them."""
        rows: Rows = []
        for step in range(1, len(self.train) + 1):
            if step % self.log_every == 0:
                loss = self.scale * self.train[step - 1] * math.exp(rng.normal(0, self.train_noise))
                norm = float(rng.lognormal(0, 0.3))
                rows.append(
                    {"step": step, "loss": loss, "learning_rate": float(self.lr[step - 1]), "grad_norm": norm}
                )
            if step % self.eval_every == 0:
                rows.append(
                    {
                        "step": step,
                        "eval_loss": self.evals[step - 1] * math.exp(rng.normal(0, self.eval_noise)),
                    }
                )
        return rows

    def good_steps(self, last: int | None = None) -> set[int]:
        """Evaluated steps within noise of the lowest noise-free eval loss."""
        steps = np.arange(self.eval_every, (last or len(self.evals)) + 1, self.eval_every)
        values = self.evals[steps - 1]
        slack = 1 + max(0.02, 3 * self.eval_noise)
        return {int(step) for step, value in zip(steps, values, strict=True) if value <= values.min() * slack}


def base(rng: Generator, *, noise: float = 1.0, evals: tuple[int, int] = (6, 60)) -> Truth:
    """A run that learns: a power law or an exponential towards a floor, eval a little above train."""
    count = int(rng.integers(*evals))
    eval_every = int(rng.integers(4, 60))
    total = count * eval_every + int(rng.integers(0, eval_every))
    done = np.arange(1, total + 1) / total
    first, last = rng.uniform(1, 8), rng.uniform(0.1, 0.7)
    fall = (
        np.exp(-done / rng.uniform(0.05, 0.4))
        if rng.random() < 0.5
        else (1 + 40 * done) ** -rng.uniform(0.3, 1)
    )
    curve = first * (last + (1 - last) * fall)
    return Truth(
        train=curve * (1 - rng.uniform(0, 0.3) * done),
        evals=curve * rng.uniform(0.95, 1.2),
        lr=schedule(rng, done),
        log_every=int(rng.choice([1, max(1, eval_every // 5), max(1, eval_every // 2)])),
        eval_every=eval_every,
        train_noise=noise * float(rng.choice([0.01, 0.05, 0.15])),
        eval_noise=noise * float(rng.choice([0.001, 0.005, 0.02])),
    )


def schedule(rng: Generator, done: np.ndarray) -> np.ndarray:
    """Linear, cosine or constant after a warm-up."""
    warm = rng.uniform(0, 0.2)
    kind = rng.integers(3)
    decay = (1 - done, 0.5 * (1 + np.cos(np.pi * done)), np.ones_like(done))[kind]
    return float(10 ** rng.uniform(-5.5, -3)) * np.minimum(done / max(warm, 1e-9), 1) * decay


def healthy(rng: Generator) -> Made:
    """A run that learns to the end."""
    truth = base(rng)
    return Made(rows=truth.rows(rng), label="healthy", steps=truth.good_steps())


def healthy_noisy(rng: Generator) -> Made:
    """The same with twice the noise, and heavy tails in the train loss of single batches."""
    truth = base(rng, noise=2.0)
    rows = truth.rows(rng)
    for row in rows:
        if "loss" in row:
            row["loss"] *= math.exp(0.05 * float(np.clip(rng.standard_t(3), -6, 6)))
    return Made(rows=rows, label="healthy", steps=truth.good_steps())


def healthy_flat(rng: Generator) -> Made:
    """A run that has converged early and wobbles around its level."""
    truth = base(rng, noise=1.5)
    done = np.arange(len(truth.evals)) / len(truth.evals)
    fall = np.exp(-done / 0.04)
    truth.train, truth.evals = (level * (0.3 + 0.7 * fall) for level in (truth.train[0], truth.evals[0]))
    return Made(rows=truth.rows(rng), label="healthy", steps=truth.good_steps())


def scale_mismatch(rng: Generator) -> Made:
    """Train loss summed over accumulation, or smoothed labels: another unit than eval."""
    truth = base(rng)
    truth.scale = float(rng.choice([0.1, 3, 4, 8, 16.5]))
    return Made(rows=truth.rows(rng), label="healthy", steps=truth.good_steps())


def norm_spikes(rng: Generator) -> Made:
    """Wild gradient norms, one of them NaN, without effect on the loss."""
    made = healthy(rng)
    rows = [row for row in made.rows if "grad_norm" in row]
    for row in rng.choice(np.array(rows, dtype=object), size=min(3, len(rows)), replace=False):
        row["grad_norm"] = float(10 ** rng.uniform(2, 6))
    rows[len(rows) // 2]["grad_norm"] = math.nan
    return made


def resumed(rng: Generator) -> Made:
    """A resume: steps overlap, the learning rate restarts, the first row after it is an artefact."""
    truth = base(rng)
    rows = truth.rows(rng)
    cut = len(truth.train) // 2 // truth.eval_every * truth.eval_every
    overrun = [row for row in rows if row["step"] <= cut + truth.eval_every]
    again = [row for row in truth.rows(rng) if row["step"] > cut]
    if again and "loss" in again[0]:
        again[0]["loss"] *= 0.3
    for row in again:
        if "learning_rate" in row:
            row["learning_rate"] *= 3
    return Made(rows=overrun + again, label="healthy", steps=truth.good_steps())


def endless_warmup(rng: Generator) -> Made:
    """A learning rate that only rises, in a run that learns all the same."""
    truth = base(rng)
    truth.lr = 1e-4 * np.arange(1, len(truth.lr) + 1) / len(truth.lr)
    return Made(rows=truth.rows(rng), label="healthy", steps=truth.good_steps())


def fluke_middle(rng: Generator) -> Made:
    """One evaluation in the middle that is far too low by accident."""
    truth = base(rng, evals=(10, 60))
    rows = truth.rows(rng)
    evals = [row for row in rows if "eval_loss" in row]
    chosen = evals[int(rng.integers(3, len(evals) - 3))]
    chosen["eval_loss"] = min(row["eval_loss"] for row in evals) * rng.uniform(0.3, 0.8)
    return Made(rows=rows, label="healthy", steps=truth.good_steps() - {int(chosen["step"])})


def fluke_last(rng: Generator) -> Made:
    """A run that has levelled out, or overfits, and whose last evaluation alone is very low."""
    made = healthy_flat(rng) if rng.random() < 0.5 else overfitting(rng)
    return _with_last(made, rng, accepted={"overfitting"} if made.label == "overfitting" else set())


def joint_rise_then_fluke(rng: Generator) -> Made:
    """The founding case: a joint rise, a plateau, and one low last evaluation."""
    made = joint_rise(rng)
    return _with_last(made, rng, accepted={"instability"})


def _with_last(made: Made, rng: Generator, accepted: set[str]) -> Made:
    evals = [row for row in made.rows if "eval_loss" in row]
    made.rows = [row for row in made.rows if row["step"] <= evals[-1]["step"]]
    lowest = min(row["eval_loss"] for row in evals[:-1])
    evals[-1]["eval_loss"] = lowest * rng.uniform(0.3, 0.85)
    label = "instability" if "instability" in accepted else "suspicious_last_eval"
    return Made(rows=made.rows, label=label, steps=made.steps - {int(evals[-1]["step"])}, accepted=accepted)


def joint_rise(rng: Generator) -> Made:
    """Train and eval leave their minimum together, in one of six shapes, and do not come back."""
    truth = _risen(rng)
    while truth.evals[-1] < 1.2 * truth.evals.min():
        truth = _risen(rng)
    return Made(rows=truth.rows(rng), label="instability", steps=truth.good_steps())


def _risen(rng: Generator) -> Truth:
    truth = base(rng, evals=(8, 60))
    done = np.arange(len(truth.evals)) / len(truth.evals)
    start = rng.uniform(0.25, 0.75)
    after = np.clip((done - start) / (1 - start), 0, 1)
    height = math.log(rng.uniform(1.4, 8))
    width = rng.uniform(0.05, 0.5)
    shape = (
        np.minimum(after / width, 1),
        (after > 0).astype(float),
        after,
        (np.exp(3 * after) - 1) / (math.exp(3) - 1),
        np.minimum(after / width, 1) * (1 - 0.5 * after),
        np.minimum(after / width, 1) * (1 + 0.2 * np.sin(40 * after)),
    )[rng.integers(6)]
    delay = int(rng.uniform(0, 0.5) * truth.eval_every)
    truth.train *= np.exp(height * rng.uniform(0.7, 1.3) * shape)
    truth.evals *= np.exp(height * np.concatenate([np.zeros(delay), shape[: len(shape) - delay]]))
    return truth


def diverged_from_start(rng: Generator) -> Made:
    """The warm-up ends too high: the loss rises from the first evaluations on."""
    truth = base(rng, evals=(8, 40))
    done = np.arange(1, len(truth.evals) + 1) / len(truth.evals)
    rise = 1 + rng.uniform(0.4, 3) * np.minimum(done / rng.uniform(0.2, 0.6), 1)
    truth.train, truth.evals = truth.train[0] * rise, truth.evals[0] * rise
    return Made(rows=truth.rows(rng), label="instability", steps=truth.good_steps())


def train_divergence(rng: Generator) -> Made:
    """A joint rise in a log without evaluations."""
    made = joint_rise(rng)
    return Made(rows=[row for row in made.rows if "loss" in row], label="instability", steps=set())


def overfitting(rng: Generator) -> Made:
    """Eval turns up while train goes on falling."""
    truth = base(rng, evals=(7, 60))
    done = np.arange(len(truth.evals)) / len(truth.evals)
    turn = rng.uniform(0.05, 0.6)
    after = np.clip((done - turn) / (1 - turn), 0, 1)
    truth.evals *= np.exp(math.log(rng.uniform(1.25, 3)) * after ** rng.uniform(0.5, 1.5))
    truth.evals *= truth.train[int(turn * len(done))] / np.where(
        done > turn, truth.train, truth.train[int(turn * len(done))]
    )
    truth.train *= np.exp(-rng.uniform(0.3, 4) * after)
    return Made(rows=truth.rows(rng), label="overfitting", steps=truth.good_steps())


def recovered_spike(rng: Generator) -> Made:
    """A spike of train, and of the evaluations inside it, that dies out."""
    truth = base(rng, evals=(10, 60))
    done = np.arange(len(truth.evals)) / len(truth.evals)
    at, length = rng.uniform(0.2, 0.6), rng.uniform(0.03, 0.15)
    bump = math.log(rng.uniform(2.5, 10)) * np.where(done >= at, np.exp(-(done - at) / length * 3), 0)
    truth.train *= np.exp(bump)
    truth.evals *= np.exp(bump)
    truth.train_noise = min(truth.train_noise, 0.05)
    return Made(rows=truth.rows(rng), label="transient_spike", steps=truth.good_steps())


def masked_nan(rng: Generator) -> Made:
    """From some step on everything is NaN, logged as loss 0.0 beside a NaN norm; eval is NaN, or not logged."""
    truth = base(rng)
    rows = truth.rows(rng)
    start = int(len(truth.train) * rng.uniform(0.2, 0.9))
    keeps_evals = rng.random() < 0.5
    for row in rows:
        if row["step"] >= start and "loss" in row:
            row.update(loss=0.0, grad_norm=math.nan)
        elif row["step"] >= start:
            row["eval_loss"] = math.nan
    kept = [row for row in rows if keeps_evals or row["step"] < start or "loss" in row]
    last = (start - 1) // truth.eval_every * truth.eval_every
    return Made(rows=kept, label="nan_inf", steps=truth.good_steps(last) if last else set())


def plateau(rng: Generator) -> Made:
    """A run that learns next to nothing."""
    truth = base(rng)
    done = np.arange(len(truth.evals)) / len(truth.evals)
    truth.train = truth.train[0] * (1 - 0.015 * done)
    truth.evals = truth.evals[0] * (1 - 0.015 * done)
    truth.train_noise, truth.eval_noise = min(truth.train_noise, 0.05), min(truth.eval_noise, 0.005)
    return Made(rows=truth.rows(rng), label="plateau_underfit", steps=truth.good_steps())


def tiny_training(rng: Generator) -> Made:
    """A real training of a small network in which the learning rate is raised too far on the way, or is not.

    Labelled by the loss on 4,096 fresh examples, which the log does not hold: lost if it ends a quarter or more above
    its lowest.
    """
    raised = rng.random() < 0.7
    factor = float(10 ** rng.uniform(1.0, 2.5)) if raised else 1.0
    rows, fresh = _train_network(rng, factor)
    steps = np.array(sorted(fresh))
    losses = np.array([fresh[step] for step in steps])
    lost = losses[-3:].mean() > 1.25 * losses.min()
    good = {int(step) for step, loss in zip(steps, losses, strict=True) if loss <= 1.05 * losses.min()}
    accepted = {"healthy", "transient_spike"} if raised and not lost else set()
    return Made(rows=rows, label="instability" if lost else "healthy", steps=good, accepted=accepted)


def healthy_correlated(rng: Generator) -> Made:
    """A run that learns, with train noise that wanders: the order of the data."""
    truth = base(rng)
    memory, drift = rng.uniform(0.5, 0.95), 0.0
    wander = np.empty_like(truth.train)
    for i in range(len(wander)):
        drift = memory * drift + rng.normal(0, 0.08 * math.sqrt(1 - memory**2))
        wander[i] = drift
    truth.train = truth.train * np.exp(wander)
    return Made(rows=truth.rows(rng), label="healthy", steps=truth.good_steps())


def healthy_stairs(rng: Generator) -> Made:
    """Train falls a step at each epoch while eval goes on improving a little."""
    truth = base(rng)
    epoch = np.floor(np.arange(len(truth.train)) / len(truth.train) * rng.integers(3, 9))
    truth.train = truth.train[0] * 0.75**epoch
    truth.evals = truth.evals[0] * 0.96**epoch * np.exp(-0.1 * np.arange(len(epoch)) / len(epoch))
    return Made(rows=truth.rows(rng), label="healthy", steps=truth.good_steps())


def rare_batches(rng: Generator) -> Made:
    """One step in a hundred meets an example five times as hard, which a row over more steps shows diluted."""
    truth = base(rng)
    rows = truth.rows(rng)
    for row in rows:
        if "loss" in row:
            row["loss"] *= 1 + 4 * int(rng.binomial(truth.log_every, 0.01)) / truth.log_every
    return Made(rows=rows, label="healthy", steps=truth.good_steps())


def overfitting_noisy(rng: Generator) -> Made:
    """Eval turns up by a quarter to a half in noise that hides single points; train falls to a tenth."""
    truth = base(rng, evals=(15, 60))
    done = np.arange(len(truth.evals)) / len(truth.evals)
    turn, height = rng.uniform(0.15, 0.4), rng.uniform(0.25, 0.5)
    level = truth.evals[0] * np.maximum(1 - 0.4 * done / turn, 0.6)
    truth.evals = level * (1 + height * np.clip((done - turn) / 0.3, 0, 1))
    truth.train = truth.evals[0] * 0.1**done
    truth.eval_noise, truth.train_noise = rng.uniform(0.03, 0.06), min(truth.train_noise, 0.1)
    return Made(rows=truth.rows(rng), label="overfitting", steps=truth.good_steps())


def spike_in_warm_up(rng: Generator) -> Made:
    """A spike of train that is over within the first tenth."""
    truth = base(rng, evals=(10, 60))
    truth.log_every = 1
    count = len(truth.train)
    length = max(2, count // 40)
    at = int(rng.uniform(0.01, 0.05) * count)
    truth.train[at : at + length] *= rng.uniform(2.5, 10)
    truth.train_noise = min(truth.train_noise, 0.05)
    return Made(rows=truth.rows(rng), label="healthy", steps=truth.good_steps())


def broken_zeros(rng: Generator) -> Made:
    """From some step on the train loss is 0.0 beside a norm at the clip value, or beside none; nothing is evaluated."""
    truth = base(rng)
    truth.log_every = 1
    start = int(len(truth.train) * rng.uniform(0.3, 0.9))
    rows = [row for row in truth.rows(rng) if "loss" in row]
    has_norms = rng.random() < 0.5
    for row in rows:
        if row["step"] >= start:
            row.update(loss=0.0, grad_norm=1.0)
        if not has_norms:
            del row["grad_norm"]
    return Made(rows=rows, label="nan_inf", steps={start - 1})


def rising_train_loss(rng: Generator) -> Made:
    """A train loss that drifts up by a tenth to a half, in a log without evaluations."""
    count = int(rng.integers(12, 200))
    level = rng.uniform(0.5, 3) * np.linspace(1, rng.uniform(1.15, 1.5), count)
    noise = rng.uniform(0.002, 0.03)
    rows = [
        {"step": 10.0 * (i + 1), "loss": float(v * math.exp(rng.normal(0, noise)))}
        for i, v in enumerate(level)
    ]
    return Made(rows=rows, label="instability", steps=set())


def _train_network(rng: Generator, factor: float) -> tuple[Rows, dict[int, float]]:
    """Adam on a two-layer network that learns a random teacher's classes; the rate rises `factor`-fold part-way."""
    teacher = rng.normal(size=(10, 6))
    sizes = (10, 48, 6)
    weights = [rng.normal(size=shape) / math.sqrt(shape[0]) for shape in (sizes[:2], sizes[1:])]
    moments = [(np.zeros_like(w), np.zeros_like(w)) for w in weights]
    held_out, fresh = (_examples(rng, teacher, count) for count in (256, 4096))
    steps, when = 400, int(rng.integers(120, 280))
    rows: Rows = []
    truth: dict[int, float] = {}
    losses: list[float] = []
    for step in range(1, steps + 1):
        rate = 5e-3 * (factor if step >= when else 1.0)
        loss, gradients = _loss(weights, *_examples(rng, teacher, 64))
        losses.append(loss)
        for weight, (mean, square), gradient in zip(weights, moments, gradients, strict=True):
            mean += 0.1 * (gradient - mean)
            square += 0.01 * (gradient**2 - square)
            weight -= rate * (mean / (1 - 0.9**step)) / (np.sqrt(square / (1 - 0.99**step)) + 1e-8)
        if step % 5 == 0:
            norm = math.sqrt(sum(float((g**2).sum()) for g in gradients))
            rows.append(
                {"step": step, "loss": float(np.mean(losses[-5:])), "learning_rate": rate, "grad_norm": norm}
            )
        if step % 20 == 0:
            rows.append({"step": step, "eval_loss": _loss(weights, *held_out)[0]})
            truth[step] = _loss(weights, *fresh)[0]
    return rows, truth


def _examples(rng: Generator, teacher: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    inputs = rng.normal(size=(count, teacher.shape[0]))
    return inputs, np.argmax(inputs @ teacher + 0.5 * rng.normal(size=(count, teacher.shape[1])), axis=1)


def _loss(
    weights: list[np.ndarray], inputs: np.ndarray, classes: np.ndarray
) -> tuple[float, list[np.ndarray]]:
    hidden = np.maximum(inputs @ weights[0], 0)
    scores = hidden @ weights[1]
    scores -= scores.max(axis=1, keepdims=True)
    logs = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
    rows = np.arange(len(classes))
    error = np.exp(logs)
    error[rows, classes] -= 1
    error /= len(classes)
    inner = (error @ weights[1].T) * (hidden > 0)
    return float(-logs[rows, classes].mean()), [inputs.T @ inner, hidden.T @ error]


FAMILIES: dict[str, Callable[[Generator], Made]] = {
    function.__name__: function
    for function in (
        healthy,
        healthy_noisy,
        healthy_flat,
        scale_mismatch,
        norm_spikes,
        resumed,
        endless_warmup,
        fluke_middle,
        fluke_last,
        joint_rise,
        joint_rise_then_fluke,
        diverged_from_start,
        train_divergence,
        overfitting,
        recovered_spike,
        masked_nan,
        plateau,
        tiny_training,
        healthy_correlated,
        healthy_stairs,
        rare_batches,
        overfitting_noisy,
        spike_in_warm_up,
        broken_zeros,
        rising_train_loss,
    )
}


def make(name: str, index: int) -> Made:
    """Run `index` of a family, the same on every machine."""
    seed: list[Any] = [list(FAMILIES).index(name), index]
    return FAMILIES[name](np.random.default_rng(seed))

from collections.abc import Callable

import numpy as np
import pytest


@pytest.fixture(scope="session")
def run_rows() -> Callable[..., list[dict]]:
    """Rows as TRL's GRPOTrainer logs them; each quantity is a number, or a list of levels that the run passes through.

    The reward has the noise of a batch of eight groups.
    """

    def build(reward, *, count=60, noise=0.03, seed=0, evals=None, **quantities) -> list[dict]:
        rng = np.random.default_rng(seed)
        at = np.linspace(0, 1, count)
        usual = {
            "reward_std": 0.3,
            "frac_reward_zero_std": 0.2,
            "kl": [0.0, 0.03],
            "completions/mean_length": 100,
            "completions/clipped_ratio": 0.0,
            "entropy": [0.5, 0.4],
        }
        courses = {name: _course(levels, at) for name, levels in {**usual, **quantities}.items()}
        rewards = np.clip(_course(reward, at) + noise * rng.standard_normal(count), -9, 9)
        rows = [
            {"step": i + 1, "loss": 0.0, "grad_norm": 0.2, "learning_rate": 1e-5, "reward": float(rewards[i])}
            | {name: float(course[i]) for name, course in courses.items()}
            for i in range(count)
        ]
        if evals:
            every = count // len(evals)
            rows += [{"step": every * (i + 1), "eval_exact_match": value} for i, value in enumerate(evals)]
        return sorted(rows, key=lambda row: row["step"])

    return build


def _course(levels, at):
    levels = np.atleast_1d(np.asarray(levels, dtype=float))
    return (
        np.interp(at, np.linspace(0, 1, len(levels)), levels)
        if len(levels) > 1
        else np.full(len(at), levels[0])
    )

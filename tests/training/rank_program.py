"""One rank of a data-parallel training; rank 0 leaves what the test compares. Started by `test_ranks`.

Usage, with torchrun's environment variables set: rank_program.py FOLDER
"""

import os
import sys
from pathlib import Path

import torch

from dycktune import ranks
from dycktune.data.tokens import LossWeights
from dycktune.training import guard
from dycktune.training.trainer import WeightedLossTrainer
from small_runs import fit_small, small_config
from spoilt_trainer import not_a_number_at, trainer_with
from weighted_rows import logged, rows, run


def guarded_weights(folder: Path) -> torch.Tensor:
    """Each rank's weights, a row each, of a guarded training in which the second rank alone meets a NaN."""
    second = os.environ["RANK"] == "1"
    spoil = not_a_number_at(20) if second else not_a_number_at()
    trainer = trainer_with(folder, spoil, WeightedLossTrainer, max_steps=24, per_device_train_batch_size=4)
    guard.attach(trainer)
    trainer.train()
    flat = torch.cat([p.detach().flatten() for p in trainer.model.parameters()])
    return trainer.accelerator.gather(flat[None])


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    split = {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 2}
    trainer, unequal = run(folder, rows(), **split)
    _, in_parts = run(folder, rows(), own={"tokens_per_pass": 60}, per_device_train_batch_size=4)
    lone = rows(answers=(0, 9, 0, 0, 0, 0, 0, 0), weights=LossWeights(reasoning=0.0))
    _, one_rank_without_weight = run(folder, lone, **split)
    evaluation = trainer.evaluate()
    fit_small(
        folder / "run", config=small_config(optim__batch_size=2, lora__dropout=0.0, eval__exact_match=3)
    )
    guarded = guarded_weights(folder / "guarded")
    if trainer.is_world_process_zero():
        left = {
            "unequal": unequal[0],
            "in_parts": in_parts[0],
            "lone": one_rank_without_weight[0],
            "evaluation": evaluation,
        }
        torch.save(left | {"loss": logged(trainer, "loss")[0], "guarded": guarded}, folder / "left.pt")
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
    ranks.exit_process(0)

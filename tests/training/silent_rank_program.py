"""One rank of trainings with a fault across ranks; rank 0 writes the names of what was found. Started by a test.

Usage, with torchrun's environment variables set: silent_rank_program.py FOLDER
"""

import json
import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from accelerate import Accelerator
from torch.utils.data import DataLoader

from dycktune import ranks
from dycktune.errors import SilentFaultError
from dycktune.training.trainer import WeightedLossTrainer
from small_runs import fit_small, small_config


def whole_data(trainer: WeightedLossTrainer) -> DataLoader:
    """Every rank has all data, in the same order."""
    data: Any = trainer.train_dataset
    return DataLoader(data, batch_size=2, collate_fn=trainer.data_collator)


def unwrapped(_accelerator: Accelerator, model: torch.nn.Module, **_: object) -> torch.nn.Module:
    """The model without DDP."""
    return model


def found(folder: Path) -> str | None:
    """The name of the fault that this rank raises."""
    try:
        fit_small(folder, config=small_config(optim__max_steps=2, optim__accumulation=1, lora__dropout=0.0))
    except SilentFaultError as fault:
        return fault.name
    return None


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    faults = {"sound": found(folder / "sound")}
    with patch.object(WeightedLossTrainer, "get_train_dataloader", whole_data):
        faults["ranks_share_data"] = found(folder / "share")
    with patch.object(Accelerator, "prepare_model", unwrapped):
        faults["ranks_train_apart"] = found(folder / "apart")
    everyone = ranks.all_gather(lambda: faults)
    if ranks.is_main():
        (folder / "faults.json").write_text(json.dumps(everyone))
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
    ranks.exit_process(0)

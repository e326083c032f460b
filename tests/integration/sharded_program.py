"""`dycktune` as one rank of a launch sharded by FSDP2, on CPUs; the run is stopped half-way and gone on with.

The first rank leaves what the test looks at. Usage: sharded_program.py NOTES ARGUMENTS OF DYCKTUNE TRAIN
"""

import json
import sys
from pathlib import Path

from accelerate import DistributedType
from accelerate.state import AcceleratorState, PartialState
from torch.distributed.tensor import DTensor

from dycktune import ranks
from dycktune.cli import main
from dycktune.training.trainer import WeightedLossTrainer

STOPPED_AT = 12


class Stopped(Exception):  # noqa: N818 - what happened, not what was wrong
    pass


def shard_on_cpus() -> None:
    """Let accelerate shard gloo ranks as it does GPUs; without one it leaves that out, silently."""
    usual = AcceleratorState.__init__

    def init(self, *args, fsdp_plugin=None, **kwargs):
        usual(self, *args, fsdp_plugin=fsdp_plugin, **kwargs)
        if fsdp_plugin is not None:
            self.fsdp_plugin, self.distributed_type = fsdp_plugin, DistributedType.FSDP
            PartialState().distributed_type = DistributedType.FSDP

    AcceleratorState.__init__ = init


def watch_steps(notes: dict) -> None:
    """Note what the parameters are while training, and stop the run once."""
    usual = WeightedLossTrainer.compute_loss

    def compute_loss(self, model, *args, **kwargs):
        if model.training:
            parameters = list(model.parameters())
            notes["whole"] = sum(not isinstance(p, DTensor) for p in parameters)
            notes["numbers"] = sum(p.numel() for p in parameters)
            notes["own"] = sum(p.to_local().numel() for p in parameters if isinstance(p, DTensor))
            notes["steps"].append(self.state.global_step)
            if notes["steps"].index(self.state.global_step) == STOPPED_AT == len(notes["steps"]) - 1:
                raise Stopped
        return usual(self, model, *args, **kwargs)

    WeightedLossTrainer.compute_loss = compute_loss


if __name__ == "__main__":
    notes: dict = {"steps": []}
    shard_on_cpus()
    watch_steps(notes)
    out, *arguments = sys.argv[1:]
    try:
        main(arguments)
    except Stopped:
        notes["status"] = main([*arguments, "--resume"])
    if ranks.is_main():
        Path(out).write_text(json.dumps(notes))
    ranks.exit_process(0)

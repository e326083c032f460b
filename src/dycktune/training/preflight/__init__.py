"""Finds the faults that ruin a training without an error, on its first batch and around its first optimizer step.

    preflight.attach(trainer)

before `trainer.train()`, for any transformers Trainer of a causal language model, TRL's SFTTrainer included. A fault
raises `SilentFaultError`, whose one line holds the fault's name, the evidence and the remedy.
"""

from dycktune.training.preflight.watch import attach

__all__ = ["attach"]

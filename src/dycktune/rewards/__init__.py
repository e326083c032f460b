"""The verifier of every task as a reward: its parts, their weights, and functions for trainers of other packages.

For TRL's GRPOTrainer:

    rewards = Rewards(task, items)
    GRPOTrainer(
        model,
        reward_funcs=rewards.functions,
        args=GRPOConfig(reward_weights=rewards.weights),
        train_dataset=Dataset.from_list(rewards.rows),
    )
"""

from dycktune.rewards.functions import RewardFunction, Rewards
from dycktune.rewards.parts import PARTS, Parts, parts_of
from dycktune.rewards.weights import RewardKind, RewardWeights

__all__ = ["PARTS", "Parts", "RewardFunction", "RewardKind", "RewardWeights", "Rewards", "parts_of"]

"""What trainers call the quantities of reinforcement learning, as the names that TRL gives them."""

from collections.abc import Mapping

from dycktune.diagnosis.log import Row

ALIASES: Mapping[str, tuple[str, ...]] = {
    "reward": (
        "critic/score/mean",
        "critic/rewards/mean",
        "objective/scores",
        "objective/rlhf_reward",
        "reward/mean",
    ),
    "reward_std": ("critic/score/std", "critic/rewards/std", "reward/std"),
    "frac_reward_zero_std": (),
    "kl": ("actor/kl_loss", "objective/kl", "actor/reward_kl_penalty"),
    "completions/mean_length": ("completion_length", "response_length/mean", "response_length"),
    "completions/clipped_ratio": ("response_length/clip_ratio", "is_truncated/mean"),
    "entropy": ("actor/entropy", "actor/entropy_loss", "objective/entropy", "policy/entropy_avg"),
    "clip_ratio/region_mean": ("clip_ratio", "actor/pg_clipfrac", "policy/clipfrac_avg"),
    "grad_norm": ("actor/grad_norm",),
    "learning_rate": ("actor/lr", "actor_lr"),
}
"""TRL's name, then those of older TRL, of TRL's PPO, verl, OpenRLHF and prime-rl; the first that a row has counts."""

POLICY_LOSSES = ("actor/loss", "actor/pg_loss", "loss/policy_avg", "policy_loss", "actor_loss")
"""Names of the loss of the policy, the surest first, in logs that also have losses of a critic, entropy or KL."""

PREFIXES = ("train/", "data/")
"""Groups that loggers put before every name."""

PREFERENCE = ("rewards/chosen", "rewards/margins", "rewards/accuracies", "logps/chosen")
"""Keys of DPO, KTO, ORPO and the like: their rewards are differences of likelihoods, and nothing was sampled."""


def plain(name: str) -> str:
    """A name without the group that a logger put before it."""
    for prefix in PREFIXES:
        name = name.removeprefix(prefix)
    return name


def renamed(row: Row) -> Row:
    """The row under TRL's names; names that are no alias stay."""
    bare = {plain(name): value for name, value in row.items()}
    found = {
        own: next(bare[alias] for alias in aliases if alias in bare)
        for own, aliases in ALIASES.items()
        if own not in bare and any(alias in bare for alias in aliases)
    }
    return {**bare, **found}


def is_reward(name: str) -> bool:
    """Whether a column is the reward of the replies that were sampled."""
    return plain(name) in ("reward", *ALIASES["reward"])

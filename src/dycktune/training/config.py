"""A recipe: every choice of a fine-tuning run, as TOML sections with strict fields.

Defaults are those of the 1.5B recipes. `recipe.load` reads a file and the command line's overrides.
"""

from dataclasses import dataclass, field
from typing import Annotated, Literal, NamedTuple

from dycktune.tasks.dyck.brackets import PAIRS
from dycktune.tasks.dyck.trace import ANSWER_MARKER, STYLES


class Range(NamedTuple):
    """What a number may be, ends included."""

    least: float
    most: float = float("inf")


class Above(NamedTuple):
    """What a number must exceed."""

    bound: float


class OneOf(NamedTuple):
    """Names a field chooses from."""

    names: tuple[str, ...]


Count = Annotated[int, Range(1)]
Amount = Annotated[float, Range(0)]
Positive = Annotated[float, Above(0)]
Share = Annotated[float, Range(0, 1)]


@dataclass(frozen=True, kw_only=True)
class ModelSection:
    """The model that is fine-tuned."""

    base: str = "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B"
    """Hub id, folder, or `builtin:tiny`."""
    dtype: Literal["bfloat16", "float32"] = "bfloat16"
    """Precision of the frozen weights; the adapter is always float32."""
    quantization: Literal["none", "nf4"] = "none"
    """`nf4` loads the base in 4 bits (bitsandbytes)."""
    trust_remote_code: bool = False
    """Whether the model's repository may run its own code here."""


@dataclass(frozen=True, kw_only=True)
class DataSection:
    """What it is trained on: files, or a generated corpus where none are named."""

    train: str | None = None
    """Data file to train on; relative paths start at the working directory."""
    eval: str | None = None
    """Data file for the evaluation loss, needed where `train` is given."""
    count: Count = 20_000
    """Generated training problems."""
    eval_count: Count = 512
    """Generated evaluation problems."""
    min_length: Annotated[int, Range(2, 400)] = 2
    """Shortest generated prefix, in brackets."""
    max_length: Annotated[int, Range(2, 400)] = 40
    """Longest generated prefix."""
    max_depth: Count | None = None
    """Most brackets open at once; no limit where it is left out."""
    highest_number: Count | None = None
    """Half of the training problems count their brackets, and a quarter their steps, from a random number on, up to
    this one, so that numbers of longer problems are met too; all count from 1 where it is left out."""
    leaps: Annotated[int, Range(0, 9)] = 0
    """At how many brackets the count of such a problem leaps ahead at most, so that numbers far apart are met side by
    side."""
    pairs: Annotated[int, Range(1, len(PAIRS))] = 4
    """Bracket pairs in use."""
    style: Annotated[str, OneOf(tuple(STYLES))] = "compact"
    """Trace style, of generated problems and of what files with bracket problems were written in."""
    seed: int = 0
    """Of the generated corpus."""
    max_tokens: Count = 4096
    """Longest example, prompt included; a longer one is an error, never cut."""


@dataclass(frozen=True, kw_only=True)
class LoraSection:
    """The adapter."""

    r: Count = 16
    """Rank."""
    alpha: Positive = 32.0
    """Scale: the adapter's product is multiplied by alpha / r."""
    dropout: Share = 0.05
    """Of the adapter's input, while training."""
    target_modules: str | tuple[str, ...] = "all-linear"
    """Module names that get an adapter, or `all-linear`: every linear layer but the head."""
    train_embeddings: bool = False
    """Whether the token embedding and head are trained in full and stored with the adapter."""


@dataclass(frozen=True, kw_only=True)
class LossSection:
    """How much each token counts."""

    answer_weight: Amount = 5.0
    """From the last answer marker through the end of turn."""
    reasoning_weight: Amount = 1.0
    """On the reasoning before it."""
    marker: str = ANSWER_MARKER
    """Text that begins the answer."""


@dataclass(frozen=True, kw_only=True)
class OptimSection:
    """The optimizer."""

    optimizer: Literal["adamw", "muon"] = "adamw"
    """`muon` gives each matrix of the adapter an orthogonal step, of AdamW's size at the same learning rate."""
    learning_rate: Positive = 8e-6
    """At the end of the warm-up."""
    schedule: Literal["cosine", "linear", "constant_with_warmup"] = "cosine"
    """How the learning rate falls after the warm-up."""
    warmup: Share = 0.2
    """Share of the steps in which the learning rate rises."""
    max_grad_norm: Amount = 0.5
    """Gradients are scaled down to this norm; 0 leaves them as they are."""
    weight_decay: Amount = 0.0
    """Decoupled, on all trained matrices."""
    batch_size: Count = 4
    """Examples through the model at once, on each device."""
    accumulation: Count = 8
    """Such batches to an optimizer step; the loss is the same for every split."""
    tokens_per_pass: Count | None = None
    """Tokens through the model at once, padding included; a batch with more goes through in parts, with the same
    gradient. It bounds memory whatever the lengths are; no limit where it is left out."""
    epochs: Positive = 2.0
    """Passes over the data; not used where `max_steps` is given."""
    max_steps: Count | None = None
    """Optimizer steps, in place of `epochs`."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of the forward pass; `auto` is bfloat16 where the device multiplies it at full speed."""
    checkpointing: bool = True
    """Recompute activations in the backward pass: less memory, about a third more time."""
    seed: int = 0
    """Of the adapter's initial values, dropout and the order of examples."""


@dataclass(frozen=True, kw_only=True)
class EvalSection:
    """What is measured while training."""

    steps: Count = 25
    """Optimizer steps between two evaluations."""
    batch_size: Count = 8
    """Examples at once, on each device; the figures do not depend on it."""
    exact_match: Annotated[int, Range(0)] = 512
    """Evaluation problems answered greedily at each evaluation; 0 for none. All of them where there are fewer."""
    log_steps: Count = 5
    """Optimizer steps between two lines of the training log."""


@dataclass(frozen=True, kw_only=True)
class GuardSection:
    """What watches over the run while it is going."""

    enabled: bool = True
    """Whether a run that diverges is rolled back to its last good state and goes on at a lower learning rate."""
    attempts: Annotated[int, Range(0)] = 8
    """Rollbacks after which trouble stops the run."""


@dataclass(frozen=True, kw_only=True)
class SaveSection:
    """Checkpoints."""

    steps: Count = 25
    """Optimizer steps between two checkpoints; as in `eval.steps`, every evaluated step can be deployed."""
    keep: Count | None = None
    """How many of the newest are kept; all where it is left out, so that selection can choose."""
    load_best: bool = False
    """Whether the run ends on the checkpoint of lowest evaluation loss; off, as one lucky point would win."""


@dataclass(frozen=True, kw_only=True)
class SelectSection:
    """How the checkpoint to deploy is chosen."""

    by: Literal["exact_match", "eval_loss"] = "exact_match"
    """Verified answers, or the loss alone."""
    count: Count = 512
    """Evaluation problems each checkpoint answers; those it has answered while training are not asked again."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """One recipe."""

    model: ModelSection = field(default_factory=ModelSection)
    data: DataSection = field(default_factory=DataSection)
    lora: LoraSection = field(default_factory=LoraSection)
    loss: LossSection = field(default_factory=LossSection)
    optim: OptimSection = field(default_factory=OptimSection)
    eval: EvalSection = field(default_factory=EvalSection)
    guard: GuardSection = field(default_factory=GuardSection)
    save: SaveSection = field(default_factory=SaveSection)
    select: SelectSection = field(default_factory=SelectSection)

"""What the commands print with `--json`: the keys of each object. New keys may come; none goes, and none changes."""

from typing import Literal, NotRequired

from pydantic import with_config
from typing_extensions import TypedDict

from dycktune.provenance import GitState
from dycktune.records import WITH_GROUPS, AgreementRecord, SelectionRecord, WrongStepRecord


class FindingOutput(TypedDict):
    """One observation of the doctor."""

    kind: str
    """A label of the run where the finding can decide it; else the name of a note."""
    message: str
    """One sentence for a person."""
    steps: list[int]
    """First and last step."""
    evidence: dict[str, float]
    """The numbers behind the message."""
    confidence: float
    """0 to 1."""


class MetricOutput(TypedDict):
    """The metric that decides which step to deploy."""

    name: str
    greater_is_better: bool
    value: float | None
    """At the recommended step."""


class TrainerChoiceOutput(TypedDict):
    """The checkpoint that the Trainer itself holds for the best."""

    step: int
    metric: str
    """Empty where no logged number matches."""
    value: float
    recorded: bool
    """True where the log names it as the best; else it is the lowest loss that was logged."""
    highest: bool | None


Label = Literal[
    "nan_inf",
    "instability",
    "overfitting",
    "suspicious_last_eval",
    "transient_spike",
    "plateau_underfit",
    "healthy",
    "too_short",
    "not_applicable",
]
"""The first seven by precedence: a run's label is the first that a finding supports."""

RewardLabel = Literal[
    "nan_inf",
    "collapse",
    "reward_hacking",
    "no_signal",
    "length_growth",
    "no_gain",
    "healthy",
    "too_short",
]
"""The labels of a run of reinforcement learning, the first six by precedence."""


class DiagnosisOutput(TypedDict):
    """Printed by `diagnose --json`, and the content of findings.json."""

    label: Label | RewardLabel
    findings: list[FindingOutput]
    best_step: int | None
    """Where the eval loss was lowest, lucky points aside; null without evaluations."""
    recommended_step: int | None
    """The step to deploy, by the metric that decides, else by the loss; null where the log does not tell."""
    recommended_checkpoint: str | None
    """Path of the checkpoint to deploy among those that exist; null where none is on disk."""
    advice: list[str]
    metric: MetricOutput | None
    format: str
    """The format of the log."""
    read_as: str
    """How the log was read, in words."""
    trainer_choice: TrainerChoiceOutput | None


class GroupOutput(TypedDict):
    """Exact match of the items of one group."""

    n: int
    exact_match: float
    ci95: list[float]
    """Lower and upper bound of the 95 % interval."""


@with_config(WITH_GROUPS)
class EvaluationOutput(TypedDict):
    """Printed by `evaluate --json`: beside these keys, a `by_NAME` for each kind of group, such as `by_length`."""

    n: int
    exact_match: float
    ci95: list[float]
    """Lower and upper bound of the 95 % interval of `exact_match`."""
    format_ok: float
    trace_valid: float | None
    """Null where the task cannot verify steps."""
    first_errors: dict[str, int]
    """How many replies went wrong first at each kind of step."""
    near_ties: int
    """Replies that were decoded again alone, because two logits came close."""
    cut_off: int
    """Replies that reached their limit of tokens before the model ended its turn."""


class ShardReplyOutput(TypedDict):
    """A model's reply to one item of a shard."""

    item: str
    """Key of the item."""
    text: str
    finished: bool
    """Whether the model ended its turn within its limit of tokens."""
    near_tie: bool
    """Whether it was decoded again alone, because two logits came close."""


class ShardOutput(TypedDict):
    """The file that `evaluate --shard I/N --out` writes."""

    shard: str
    """I/N: the items I, I + N, I + 2N, …, counted from 1."""
    model: str
    items: int
    """Number of items over all shards."""
    options: str | None
    """Options of `evaluate` that name the items; null where no options do."""
    replies: list[ShardReplyOutput]


class CompletionOutput(TypedDict):
    """A line of `complete --json` with a bracket model. Nothing in it is filled in by the program."""

    sequence: str
    text: str
    """What the model wrote, decoded without special tokens."""
    closing: str | None
    """The brackets after the sequence, read from `text`; null where it has none."""
    full: str | None
    """The final answer, read from `text`; null where it has none."""
    correct: bool
    format_ok: bool
    first_wrong_step: WrongStepRecord | None
    reason: str | None
    """Why the answer is not right."""


class VerdictOutput(TypedDict):
    """Printed by `verify --json`."""

    correct: bool | None
    """Null where the right answer is not known."""
    answer: str | None
    reason: str | None
    format_ok: bool
    trace_valid: bool | None
    """Null for a task without verified steps."""
    first_wrong_step: WrongStepRecord | None
    closing: NotRequired[str | None]
    """Of the bracket task: the brackets after the sequence."""
    style: NotRequired[str | None]
    """Of the bracket task: the trace style recognised in the reply."""


class AnswerOutput(VerdictOutput):
    """A line of `complete --json` with a model of another task."""

    text: str


class UnusableOutput(TypedDict):
    """A line of `complete - --json` for an input line that cannot be used."""

    sequence: str
    error: str


class ScheduleOutput(TypedDict):
    """The course of a planned run."""

    examples: int
    steps: int
    epochs: float
    examples_per_step: int
    batches: int
    """Forward passes of training on each rank."""
    tokens_per_epoch: int
    supervised_per_epoch: int
    warmup_steps: int
    evaluations: int
    checkpoints: int
    kept: int
    tokens: int


class FootprintOutput(TypedDict):
    """Computed sizes in bytes, unless a name says otherwise."""

    parameters: int
    trained: int
    hidden_size: int
    context: int | None
    weights: int
    optimizer: int
    activations: int
    adapter: int
    checkpoint: int
    merged: int
    memory: int
    disk: int


class MeasurementOutput(TypedDict):
    """Figures of a few real steps on this machine."""

    batches: dict[int, float]
    """Seconds of an optimizer step on one batch, by tokens of the batch."""
    eval_seconds_per_token: float
    answer_seconds: float | None
    memory: int


class ConcernOutput(TypedDict):
    """One thing that looks wrong in a plan."""

    severity: Literal["warning", "note"]
    field: str
    """The recipe's field to change."""
    what: str
    why: str
    remedy: str


class PlanOutput(TypedDict):
    """Printed by `plan --json`."""

    model: str
    device: str
    schedule: ScheduleOutput
    footprint: FootprintOutput
    measured: MeasurementOutput | None
    """Null with `--no-measure`."""
    memory: int
    """Bytes at the peak, measured or computed."""
    free_memory: int
    free_disk: int
    training_seconds: float | None
    evaluation_seconds: float | None
    concerns: list[ConcernOutput]


class LengthsOutput(TypedDict):
    """Tokens of the examples, prompt included."""

    min: int
    median: int
    p95: int
    max: int


class RefusalOutput(TypedDict):
    """A row that training would refuse."""

    source: str
    reason: str


class SplitOutput(TypedDict):
    """One split of the data of a preview."""

    origin: str
    rows: int
    tokens: LengthsOutput | None
    over_max_tokens: list[str]
    """Sources of the examples that are too long."""
    refused: list[RefusalOutput]
    repeated: int
    """Rows that repeat a question."""
    contradictions: list[list[str]]
    """Sources of pairs of rows with the same question and another answer."""


class OverlapOutput(TypedDict):
    """Questions of the eval split that are trained on."""

    items: int
    prompts: int
    of: int
    example: list[str] | None


class PieceOutput(TypedDict):
    """A token, or the few tokens that share a character."""

    kind: str
    text: str
    ids: list[int]
    weight: float
    """Of each token, in the loss."""


class ExampleOutput(TypedDict):
    """One example token by token."""

    source: str
    tokens: int
    prompt_length: int
    answer_start: int
    answer_loss_share: float
    hidden_messages: list[int]
    """Indices of messages whose text the template does not show to the model."""
    pieces: list[PieceOutput]


class PreviewOutput(TypedDict):
    """Printed by `preview --json`."""

    model: str
    task: str
    marker: str
    max_tokens: int
    weights: dict[str, float]
    """The weight of each kind of token in the loss."""
    trainable: bool
    """Whether training accepts every row."""
    splits: dict[str, SplitOutput]
    overlap: OverlapOutput | None
    examples: list[ExampleOutput]


class RunOutput(TypedDict):
    """One run of the array that `runs --json` prints."""

    run: str
    when: str
    """ISO 8601."""
    base: str | None
    task: str | None
    label: str | None
    exact_match: float | None
    ci95: list[float] | None
    n: int | None
    measured_on: str | None
    """`test` for an evaluation of the finished run, `eval` for the selection's own items."""
    deployed: str | None
    """Name of the selected checkpoint."""
    report: str | None
    problem: str | None


class TrainOutput(TypedDict):
    """Printed by `train --json` after the last stage."""

    run: str
    """The run folder."""
    diagnosis: DiagnosisOutput
    selection: SelectionRecord | None
    """Null with `--no-select`."""


class SpecOutput(TypedDict):
    """How a data file was drawn; the task's options stand beside these keys."""

    count: int
    seed: int
    split: str


class DataManifest(TypedDict):
    """The content of FILE.manifest.json, beside a generated data file."""

    file: str
    task: str
    version: int
    """Of the stream of items."""
    prompt_version: int
    split: Literal["train", "eval", "test"]
    seed: int
    count: int
    shard: str | None
    sha256: str
    spec: SpecOutput
    groups: NotRequired[dict[str, dict[str, int]]]
    """Items by the name of a group and its value; a bracket file has `lengths`, `depths` and `spill_over` instead."""
    lengths: NotRequired[dict[str, int]]
    depths: NotRequired[dict[str, int]]
    spill_over: NotRequired[dict[str, int]]


class GenerateOutput(TypedDict):
    """Printed by `generate --json`."""

    data: str
    """The file that was written."""
    manifest: DataManifest


class MergeOutput(TypedDict):
    """Printed by `merge --json`."""

    merged: str
    holds: bool
    """Whether the merged model writes what base + adapter write, as far as its precision allows."""
    agreement: AgreementRecord


class ShareOutput(TypedDict):
    """A part of the examples, summed over all of them."""

    part: str
    tokens: float
    """Its share of all tokens, 0 to 1."""
    loss: float
    """Its share of the summed loss weights, 0 to 1."""


class TokensOutput(TypedDict):
    """Printed by `tokens --json`."""

    examples: int
    tokens: dict[int, int]
    """Tokens of an example, by percentile."""
    shares: list[ShareOutput]


class ReportOutput(TypedDict):
    """Printed by `report --json`."""

    report: str
    """The page that was written."""


class NoteOutput(TypedDict):
    """A setting that did not move into the recipe as it is."""

    key: str
    value: object
    kind: Literal["differs", "unmatched", "todo"]
    reason: str


class ExportOutput(TypedDict):
    """Printed by `export --json`."""

    file: str
    """The file that was written."""
    kind: Literal["f32", "f16", "bf16", "q8_0"]
    """Type of the weights."""
    architecture: str
    """GGUF's name for it."""
    size: int
    """Bytes."""


class PushedFileOutput(TypedDict):
    """A file of the folder."""

    name: str
    size: int
    """Bytes."""


class PushOutput(TypedDict):
    """Printed by `push --json`."""

    repo: str
    files: list[PushedFileOutput]
    folder: str | None
    """Where the folder is kept; null where it is not."""
    address: str | None
    """Of the repository; null after a dry run."""


class ShipOutput(TypedDict):
    """Printed by `ship --json`."""

    ship: bool
    reason: str
    model: str
    against: str
    items: str
    """The seed of the items, or the file that they come from."""
    n: int
    exact_match: float
    ci95: list[float]
    """Lower and upper bound of the 95 % interval of `exact_match`."""
    against_exact_match: float
    against_ci95: list[float]
    gain: float
    gain_ci95: list[float]
    """Of the gain, for paired answers."""
    min_gain: float
    p: float
    """One-sided p-value of a gain of `min_gain` or less."""


class MigrateOutput(TypedDict):
    """Printed by `migrate --json`."""

    program: str
    recipe: str
    """The recipe as TOML."""
    moved: dict[str, str]
    """The recipe's field by the setting's name."""
    notes: list[NoteOutput]
    ready: bool
    """Whether the recipe can be trained without a change."""


class TrainingIds(TypedDict):
    """The training data as the model sees it."""

    examples: int
    tokens: int
    sha256: str
    """Of all token ids."""


class RunManifest(TypedDict):
    """The content of manifest.json in a run folder."""

    seed: int
    training_ids: TrainingIds
    python: str
    versions: dict[str, str]
    git: GitState | None
    """Null where the program is in no repository."""
    bfloat16: bool
    """Whether forward passes were computed in bfloat16."""
    tokens_per_pass: int | None

"""Settings and data that look wrong, each with the reason and the remedy."""

from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

from dycktune.data.statistics import token_statistics
from dycktune.evaluation.metrics import Proportion
from dycktune.planning.facts import Facts
from dycktune.planning.units import counted, size_in_words

Severity = Literal["warning", "note"]

LOW_ANSWER_SHARE = 0.05
"""Share of the loss weight below which the answer hardly counts."""
LONG_WARMUP = 0.5
"""Share of the steps from which on most of the run is warm-up."""
WIDE_INTERVAL = 0.10
"""Half width of a 95 % interval above which checkpoints can hardly be distinguished."""
MANY_EPOCHS = 10
FEW_STEPS = 20
MANY_REPEATS = 0.05
"""Share of training rows that repeat a question."""

_LORA_RATE = 5e-4
_EXPONENTS = (0.0775, 0.781)
"""Learning rates of LoRA with AdamW: 5e-4 · (2000 / hidden size) ^ p, with p between these, found by sweeps over Qwen
and Llama models (Thinking Machines, https://thinkingmachines.ai/blog/lora/ and hyperparam_utils.py of
tinker-cookbook). It is ten times the rate of full fine-tuning. QLoRA's 2e-4 for 7B and 1e-4 for 33B and more
(arXiv 2305.14314, table 9) are a factor of four below it. Muon's steps are scaled to the size of AdamW's."""
_TOO_HIGH, _LOW, _TOO_LOW = 4.0, 10.0, 200.0
"""How far from these rates a learning rate may be: above the highest, and below the lowest."""


class Concern(NamedTuple):
    """One thing that looks wrong."""

    severity: Severity
    """A warning asks for a change; a note is to be known."""
    field: str
    """The recipe's field to change."""
    what: str
    why: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.severity}: {self.what}. {self.why} → {self.remedy}"


def concerns(facts: Facts) -> list[Concern]:
    """All concerns, warnings first."""
    found = [concern for check in _CHECKS for concern in check(facts)]
    return sorted(found, key=lambda concern: concern.severity == "note")


def _foreign_code(facts: Facts) -> Iterator[Concern]:
    if facts.config.model.trust_remote_code:
        yield Concern(
            "warning",
            "model.trust_remote_code",
            f"Python code that comes with {facts.config.model.base} is run",
            "It can do whatever you can: read keys, change files, reach the network.",
            "leave model.trust_remote_code out, unless you have read that code",
        )


def _learning_rate(facts: Facts) -> Iterator[Concern]:
    rate, width = facts.config.optim.learning_rate, facts.footprint.hidden_size
    rates = sorted(_LORA_RATE * (2000 / width) ** exponent for exponent in _EXPONENTS)
    usual = f"{rates[0]:.0e} to {rates[1]:.0e}"
    source = f"Sweeps of LoRA found {usual} for a hidden size of {width} (tinker-cookbook, hyperparam_utils)."
    if rate > rates[1] * _TOO_HIGH:
        yield Concern(
            "warning",
            "optim.learning_rate",
            f"the learning rate {rate:g} is {rate / rates[1]:.0f} times the highest usual one",
            f"{source} A rate far above them makes the loss rise again or diverge.",
            f"set optim.learning_rate to {rates[1]:.0e} or less",
        )
    elif rate < rates[0] / _LOW:
        yield Concern(
            "warning" if rate < rates[0] / _TOO_LOW else "note",
            "optim.learning_rate",
            f"the learning rate {rate:g} is {rates[0] / rate:.0f} times below the lowest usual one",
            f"{source} Rates of full fine-tuning are ten times lower and train an adapter slowly.",
            f"try optim.learning_rate = {rates[0] / 2:.0e}, unless you chose it because of a divergence",
        )


def _warmup(facts: Facts) -> Iterator[Concern]:
    share, schedule = facts.config.optim.warmup, facts.schedule
    if share < LONG_WARMUP:
        return
    ending = "never ends" if share == 1 else f"ends at step {schedule.warmup_steps} of {schedule.steps}"
    yield Concern(
        "warning",
        "optim.warmup",
        f"the warm-up {ending}",
        "The learning rate rises for most of the run, so a rate that is too high shows late.",
        "set optim.warmup to 0.2 or less",
    )


def _clipping(facts: Facts) -> Iterator[Concern]:
    if facts.config.optim.max_grad_norm == 0:
        yield Concern(
            "warning",
            "optim.max_grad_norm",
            "gradients are not clipped",
            "One unusual batch can then throw the weights far off.",
            "set optim.max_grad_norm to 0.5 or 1",
        )


def _refused(facts: Facts) -> Iterator[Concern]:
    for survey in (facts.train, facts.evaluation):
        if survey.refused:
            first, skips = survey.refused[0], survey.skips_refused
            yield Concern(
                "note" if skips else "warning",
                f"data.{survey.split}",
                f"{counted(len(survey.refused), f'{survey.split} row')} cannot be used, the first at {first.source}",
                f"Training {'leaves them out' if skips else 'refuses the file'}: {first.reason}.",
                "correct or remove the rows; dycktune preview lists them",
            )
        if survey.overlong:
            longest = survey.overlong[0]
            yield Concern(
                "warning",
                "data.max_tokens",
                f"{counted(len(survey.overlong), f'{survey.split} example')} over "
                f"data.max_tokens = {survey.max_tokens}",
                f"Training refuses them; the longest, {longest.source}, has {len(longest)} tokens.",
                f"set data.max_tokens to {len(longest)}, or make the examples shorter",
            )


def _context(facts: Facts) -> Iterator[Concern]:
    context, longest = facts.footprint.context, facts.longest
    if context is not None and longest > context:
        yield Concern(
            "warning",
            "data.max_tokens",
            f"the longest example has {longest} tokens, and the base reads {context}",
            "Positions beyond the base's context have never been trained.",
            f"set data.max_tokens to {context} and make the examples shorter, or use another base",
        )


def _overlap(facts: Facts) -> Iterator[Concern]:
    shared = max(facts.overlap.items, facts.overlap.prompts)
    if not shared:
        return
    pair = facts.overlap.example
    such = f" (such as {pair[1]}, which is {pair[0]})" if pair else ""
    yield Concern(
        "warning",
        "data.eval",
        f"{shared} of {facts.overlap.of} eval rows are in the training data{such}",
        "Scores on them measure memory, and selection would prefer overfitted checkpoints.",
        "remove these rows from data.train or data.eval",
    )


def _repeats(facts: Facts) -> Iterator[Concern]:
    repeated, rows = facts.train.repeated, len(facts.train.examples)
    if repeated > MANY_REPEATS * rows:
        yield Concern(
            "note",
            "data.train",
            f"{repeated} of {rows} training rows repeat a question",
            "Repeated rows count more than the others.",
            "remove them if that is not intended; dycktune preview counts them",
        )
    conflicts = facts.train.contradictions(facts.config.loss.marker)
    if conflicts:
        first, other = conflicts[0]
        yield Concern(
            "warning",
            "data.train",
            f"{counted(len(conflicts), 'training row')} with another answer to the question of an earlier row",
            f"At most one can be right: {first.source} and {other.source}.",
            "correct or remove them",
        )


def _answer_share(facts: Facts) -> Iterator[Concern]:
    share = next(s.loss for s in token_statistics(facts.train.tokenized).shares if s.part == "answer")
    loss = facts.config.loss
    if share < LOW_ANSWER_SHARE and loss.answer_weight > 0:
        raised = loss.answer_weight * (_odds(0.2) / _odds(share))
        yield Concern(
            "warning",
            "loss.answer_weight",
            f"the answer has {100 * share:.1f} % of the loss weight",
            "The loss then says little about right answers, and the model learns them late.",
            f"set loss.answer_weight to about {raised:.0f}, which gives it 20 %",
        )


def _odds(share: float) -> float:
    """The odds of a share, which grow in proportion to the answer's weight."""
    return share / (1 - share)


def _evaluations(facts: Facts) -> Iterator[Concern]:
    config, schedule = facts.config, facts.schedule
    if config.eval.steps > schedule.steps:
        yield Concern(
            "warning",
            "eval.steps",
            f"eval.steps = {config.eval.steps}, but the run has {counted(schedule.steps, 'step')}",
            "Only the last step is evaluated, so nothing shows whether an earlier one was better.",
            f"set eval.steps and save.steps to {max(1, schedule.steps // 5)}",
        )
    elif config.save.steps % config.eval.steps and config.eval.steps % config.save.steps:
        yield Concern(
            "warning",
            "save.steps",
            f"save.steps = {config.save.steps} and eval.steps = {config.eval.steps} do not meet",
            "The best evaluated step may have no checkpoint.",
            f"set save.steps to {config.eval.steps}",
        )


def _kept(facts: Facts) -> Iterator[Concern]:
    schedule, config = facts.schedule, facts.config
    if config.save.load_best and config.select.by == "eval_loss":
        # Trainer then keeps the checkpoint of lowest evaluation loss beside the newest.
        return
    if schedule.kept < schedule.checkpoints:
        all_of_them = size_in_words(schedule.checkpoints * facts.footprint.checkpoint)
        yield Concern(
            "warning",
            "save.keep",
            f"only the newest {schedule.kept} of {schedule.checkpoints} checkpoints are kept",
            "The best one may be deleted before selection can score it.",
            f"leave save.keep out; all checkpoints take {all_of_them}",
        )


def _selection(facts: Facts) -> Iterator[Concern]:
    config = facts.config
    n = min(config.select.count, len(facts.evaluation.examples))
    low, high = Proportion(n // 2, n).ci95
    if config.select.by == "exact_match" and (high - low) / 2 > WIDE_INTERVAL:
        few = (
            "select.count" if config.select.count < len(facts.evaluation.examples) else facts.eval_size_field
        )
        more = "add rows to data.eval" if few == "data.eval" else f"raise {few}"
        yield Concern(
            "warning",
            few,
            f"selection compares checkpoints on {counted(n, 'item')}",
            f"The 95 % interval of an exact match of 0.5 is then {low:.2f} to {high:.2f}: chance chooses among near "
            "checkpoints.",
            f"{more}; 100 items give ±0.10, 400 give ±0.05",
        )


def _length_of_run(facts: Facts) -> Iterator[Concern]:
    schedule = facts.schedule
    if schedule.epochs > MANY_EPOCHS:
        yield Concern(
            "note",
            "optim.epochs",
            f"each example is seen {schedule.epochs:.0f} times",
            "A model learns repeated examples by heart.",
            "watch the eval loss, or lower optim.epochs or optim.max_steps",
        )
    if schedule.steps < FEW_STEPS:
        yield Concern(
            "note",
            "optim.max_steps",
            f"the run has {counted(schedule.steps, 'optimizer step')}",
            "So few updates change a model little, and the doctor needs more points for a diagnosis.",
            "raise optim.epochs, or lower optim.accumulation",
        )


def _room(facts: Facts) -> Iterator[Concern]:
    if facts.memory > facts.free_memory:
        yield Concern(
            "warning",
            "optim.batch_size",
            f"training needs about {size_in_words(facts.memory)} of memory, of {size_in_words(facts.free_memory)}",
            "The run would stop for lack of memory.",
            "lower optim.batch_size and raise optim.accumulation, or set optim.checkpointing = true",
        )
    needed = facts.footprint.disk(facts.schedule)
    if needed > facts.free_disk:
        yield Concern(
            "warning",
            "save.steps",
            f"the run folder needs {size_in_words(needed)}; {size_in_words(facts.free_disk)} are free",
            "Checkpoints could not be written.",
            "raise eval.steps and save.steps, or free some space",
        )


_CHECKS: tuple[Callable[[Facts], Iterator[Concern]], ...] = (
    _foreign_code,
    _refused,
    _context,
    _overlap,
    _repeats,
    _learning_rate,
    _warmup,
    _clipping,
    _answer_share,
    _evaluations,
    _kept,
    _selection,
    _length_of_run,
    _room,
)

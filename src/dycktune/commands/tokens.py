"""`dycktune tokens`."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dycktune.data.statistics import Census
    from dycktune.data.tokens import LossWeights
    from dycktune.tasks.dyck.tokenizer_audit import Audit

GENERATED = 500
"""Problems that are counted where no data file is named."""


def tokens(
    model: str,
    /,
    *,
    data: Path | None = None,
    style: str = "compact",
    pairs: int = 4,
    answer_weight: float = 5.0,
    marker: str = "FINAL ANSWER: ",
) -> int:
    """Show how a model's tokenizer cuts brackets, how long its examples are, and what the loss weights.

    Parameters
    ----------
    model
        A run, checkpoint, adapter or merged folder, a Hub id, or builtin:tiny.
    data
        Rows to count; generated problems of lengths 2 to 40 if left out.
    style
        Trace style of the generated problems.
    pairs
        Bracket pairs to look at and to generate.
    answer_weight
        Loss weight from the answer marker on, where the reasoning has 1.
    marker
        Text that begins the answer.
    """
    from dycktune.data.statistics import census
    from dycktune.data.rows import read_examples
    from dycktune.data.tokens import LossWeights, tokenize
    from dycktune.tasks.dyck.tokenizer_audit import audit
    from dycktune.models.loading import load_tokenizer
    from dycktune.tasks.dyck.brackets import Alphabet
    from dycktune.training.config import DataSection
    from dycktune.training.examples import generate

    tokenizer = load_tokenizer(model)
    print(_audit_text(audit(tokenizer, Alphabet.of(pairs))))
    generated = DataSection(style=style, pairs=pairs)
    examples = list(read_examples(data)) if data else generate(generated, split="eval", count=GENERATED)
    weights = LossWeights(answer=answer_weight, marker=marker)
    counted = census(tokenize(examples, tokenizer, weights=weights))
    what = str(data) if data else f"generated problems in {style} style"
    print(f"\n{counted.count} examples: {what}\n{_census_text(counted, weights)}")
    return 0


def _audit_text(audit: "Audit") -> str:
    rows = [f"{'bracket':<9}{'alone':<20}{'behind a space'}"]
    rows += [f"{cut.bracket:<9}{' '.join(cut.alone):<20}{' '.join(cut.spaced)}" for cut in audit.cuts]
    told = [f"warning: {warning}" for warning in audit.warnings] or ["every bracket is a token of its own"]
    return "\n".join([*rows, "", *told])


def _census_text(census: "Census", weights: "LossWeights") -> str:
    lengths = ", ".join(f"{at} % up to {tokens}" for at, tokens in census.percentiles.items())
    rows = [
        f"tokens an example: {lengths}",
        f"{'part':<12}{'tokens':>9}{'loss weight':>13}{'of the loss':>13}",
    ]
    each = {"prompt": 0.0, "reasoning": weights.reasoning, "answer": weights.answer}
    rows += [
        f"{share.part:<12}{share.tokens:>9.1%}{each[share.part]:>13g}{share.loss:>13.1%}"
        for share in census.shares
    ]
    return "\n".join(rows)

"""`dycktune evaluate`."""

import json as jsonlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from dycktune.commands.endpoint_options import NO_ENDPOINT, EndpointOptions
from dycktune.commands.shard_options import ALL_ITEMS, ShardOptions
from dycktune.commands.task_options import TASK_OPTIONS
from dycktune.console.terminal import Quiet, hint_on_interrupt
from dycktune.errors import ConfigError
from dycktune.tasks.base import Item, Task
from dycktune.tasks.registry import make_task

if TYPE_CHECKING:
    from dycktune.console.bar import Bar
    from dycktune.data.corpus import Shard
    from dycktune.data.rows import Example, Skipped
    from dycktune.evaluation.evaluate import Evaluation
    from dycktune.evaluation.metrics import Proportion
    from dycktune.evaluation.record import EvaluatedItems
    from dycktune.inference.endpoint import Endpoint
    from dycktune.models.loading import LoadedModel
    from dycktune.runs import ModelInRun


def evaluate(
    model: str | None = None,
    *,
    data: str | None = None,
    benchmark: Path | None = None,
    trained_on: str | None = None,
    skip_bad_rows: Annotated[bool, Parameter(negative="")] = False,
    base: Annotated[bool, Parameter(negative="")] = False,
    count: int = 1000,
    task: str | None = None,
    seed: int = 0,
    json: Annotated[bool, Parameter(negative="")] = False,
    quiet: Quiet = False,
    server: EndpointOptions = NO_ENDPOINT,
    shards: ShardOptions = ALL_ITEMS,
    **options: Annotated[str, Parameter(help=TASK_OPTIONS)],
) -> int:
    """Measure exact match and trace validity of a model on test items, a data file or a benchmark.

    Example: dycktune evaluate runs/quickstart --count 500 --min-length 41 --max-length 100

    Example: dycktune evaluate --endpoint http://127.0.0.1:8000/v1 --count 100

    Example: dycktune evaluate runs/quickstart --count 10000 --shard 2/8 --out replies/2.json

    Parameters
    ----------
    model
        A run, checkpoint, adapter or merged folder, a Hub id, a .gguf file, builtin:tiny, or s3://... (a run there is
        only read). It may be left out where --endpoint names a server.
    data
        Rows of the task: a file, a folder, owner/name:split of the Hub, or s3://...; items of the test split are
        generated if left out.
    benchmark
        A JSON file as published: BIG-Bench Hard's dyck_languages, or BIG-Bench Extra Hard's with --task first_mistake.
    trained_on
        The training data file, to count the items that it holds; a run folder knows its own.
    skip_bad_rows
        Leave out the rows of --data and --trained-on that cannot be used, and count them.
    base
        Evaluate the base of the run MODEL, as it was before the training.
    count
        Test items to generate.
    task
        The task; the one the model was trained on if left out.
    seed
        Seed of the generated items.
    json
        Print one JSON object.
    """
    _refuse_contradictions(model, data, benchmark, base=base, endpoint=server.endpoint)
    shard = shards.part()
    endpoint = None if shards.join else server.find()
    member = _member(model, base=base) if model and server.endpoint is None else None
    chosen = _task(model, task, options)
    from dycktune import ranks
    from dycktune.data.rows import Skipped

    skipped = Skipped() if skip_bad_rows else None
    examples = None if data is None else _examples_of(chosen, data, skipped)
    items = _items(chosen, examples, benchmark, count=count, seed=seed)
    job = _Job(
        task=chosen,
        items=items,
        described=_described(chosen, len(items), data, benchmark, seed),
        model=model if server.endpoint is None else None,
        member=member,
        endpoint=endpoint,
        max_tokens=server.max_tokens,
        shard=shard,
        out=shards.out,
        join=shards.join,
    )
    evaluation = _answered(job, quiet=quiet)
    if not ranks.is_main():
        return 0
    _keep(job, evaluation)
    if json:
        left_out = {} if skipped is None else {"skipped_rows": skipped.count}
        print(jsonlib.dumps(evaluation.to_json() | left_out))
        return 0
    if shard is not None:
        print(
            f"{shards.out}: shard {shard} of {len(items)} items; when all are there, put --join in place of --shard"
        )
    elif examples is not None:
        from dycktune.data.summary import summary

        print(f"{data}: {summary(examples, skipped=skipped)}")
    print(evaluation_report(evaluation))
    if base or shard is not None:
        return 0
    seen = _seen(model, chosen, trained_on, skipped=Skipped() if skip_bad_rows else None)
    if seen is not None:
        print(overlap_report(evaluation, seen))
    return 0


@dataclass(frozen=True, kw_only=True)
class _Job:
    """Who is asked what, and where the replies go."""

    task: Task
    items: Sequence[Item]
    described: "EvaluatedItems"
    model: str | None
    """The model that is asked; None: a server's."""
    member: "ModelInRun | None"
    """The model, if it belongs to a run."""
    endpoint: "Endpoint | None"
    """The server that is asked; None where replies are joined."""
    max_tokens: int | None
    shard: "Shard | None"
    """The part of the items that is asked; None: all."""
    out: str | None
    """The file for the replies of a part."""
    join: tuple[str, ...]
    """Files of all parts, whose replies are taken in place of the model."""

    @property
    def reference(self) -> str:
        """The model that is loaded."""
        return self.member.reference if self.member else str(self.model)

    @property
    def name(self) -> str:
        """The model in the files of shards: a run may get another checkpoint between two of them."""
        if self.endpoint is not None:
            return self.endpoint.model
        if self.member is None or self.member.step is None:
            return self.reference
        return f"{self.reference}, step {self.member.step}"


def _answered(job: _Job, *, quiet: bool) -> "Evaluation":
    """The replies, verified: those in the files of all shards, or of a server, or of the model."""
    from dycktune import ranks
    from dycktune.evaluation.shards import join_shards, part_of, require_place

    if job.join:
        # A server is not asked for the name of its model.
        return join_shards(job.join, job.task, job.items, model=None if job.model is None else job.name)
    if job.out is not None and ranks.is_main():
        require_place(job.out)
    asked = job.items if job.shard is None else part_of(job.items, job.shard)
    if job.endpoint is not None:
        return _endpoint_evaluation(job.endpoint, job.task, asked, max_tokens=job.max_tokens, quiet=quiet)
    return _evaluation(job.reference, job.task, asked, quiet=quiet)


def _keep(job: _Job, evaluation: "Evaluation") -> None:
    """Write the replies of a part to its file; else record the evaluation in the model's run, if it has one."""
    if job.shard is not None and job.out is not None:
        from dycktune.evaluation.shards import write_shard

        options = job.described.options
        write_shard(job.out, evaluation, job.shard, model=job.name, items=len(job.items), options=options)
    elif job.member is not None:
        from dycktune.evaluation.record import record_evaluation

        record_evaluation(job.member, evaluation, job.described)


def _refuse_contradictions(
    model: str | None, data: str | None, benchmark: Path | None, *, base: bool, endpoint: str | None
) -> None:
    if data is not None and benchmark is not None:
        raise ConfigError("--data and --benchmark exclude each other; evaluate one after the other")
    if endpoint is not None and base:
        raise ConfigError(
            "--base and --endpoint exclude each other; --endpoint evaluates what the server has"
        )
    if endpoint is None and model is None:
        raise ConfigError("no MODEL; name one, or a server with --endpoint")


def _endpoint_evaluation(
    endpoint: "Endpoint", task: Task, items: Sequence[Item], *, max_tokens: int | None, quiet: bool
) -> "Evaluation":
    """The server's replies to the items, with a bar in a terminal; those that were kept are not asked for again."""
    from dycktune.console.bar import working
    from dycktune.evaluation.endpoint import evaluate_endpoint
    from dycktune.inference.endpoint_completion import request_body
    from dycktune.inference.kept_replies import kept_replies

    kept = kept_replies(endpoint)
    with (
        hint_on_interrupt(lambda: "the replies so far are kept; go on with the same command"),
        working("answering", unit="replies", quiet=quiet) as bar,
    ):
        bodies = ((item.key, request_body(task, item, max_tokens=max_tokens)) for item in items)
        if before := sum(kept.find(key, body) is not None for key, body in bodies):
            print(
                f"{before} of {len(items)} replies are kept from an interrupted evaluation; delete {kept.path} to ask "
                "for them again",
                file=sys.stderr,
            )
        bar.begin("answering", total=len(items))
        return evaluate_endpoint(
            endpoint, task, items, max_tokens=max_tokens, kept=kept, on_reply=bar.advance
        )


def _evaluation(model: str, task: Task, items: Sequence[Item], *, quiet: bool) -> "Evaluation":
    """The model's replies to the items, with a bar in a terminal; the ranks of a launch share the items."""
    from dycktune import ranks
    from dycktune.console.bar import working
    from dycktune.evaluation.distributed import evaluate_distributed
    from dycktune.models.loading import load

    questions = len(ranks.shard(items))
    with (
        hint_on_interrupt(lambda: "no result was recorded; start again with the same command"),
        working(f"loading {model}", unit="replies", quiet=quiet) as bar,
    ):
        ranks.initialize()

        def loaded() -> "LoadedModel":
            found = load(model)
            bar.begin("answering", total=questions)
            return found

        return evaluate_distributed(loaded, task, items, on_reply=answers_on(bar, questions))


def _member(model: str, *, base: bool) -> "ModelInRun | None":
    """The evaluated model, if it belongs to a run, whose folder records the evaluation."""
    from dycktune.runs import model_in_run

    member = model_in_run(Path(model))
    if not base:
        return member
    if member is None:
        raise ConfigError(f"--base evaluates the base of a run, and {model} is no run folder; name one")
    from dycktune.training import recipe

    untuned = recipe.load(member.run.config).model.base
    return member._replace(role="base", reference=untuned, step=None)


def _described(
    task: Task, count: int, data: str | None, benchmark: Path | None, seed: int
) -> "EvaluatedItems":
    from dycktune.evaluation.record import from_file, generated

    if benchmark:
        return from_file(benchmark, "--benchmark")
    return from_file(data, "--data") if data else generated(task, count=count, seed=seed)


def evaluation_report(evaluation: "Evaluation") -> str:
    """An evaluation as a person reads it."""
    n, traces = len(evaluation.completions), evaluation.trace_valid
    lines = [f"exact match  {evaluation.exact_match} (95 % interval, n = {n})"]
    if traces is not None:
        lines.append(f"trace valid  {traces}")
    lines.append(f"format ok    {evaluation.format_ok}")
    lines += [_group(f"by {name}", shares) for name, shares in evaluation.by_group().items()]
    if evaluation.first_errors:
        kinds = ", ".join(f"{kind} {count}" for kind, count in evaluation.first_errors.items())
        lines.append(f"first wrong step: {kinds}")
    if evaluation.near_ties:
        lines.append(f"{evaluation.near_ties} replies had a near tie and were decoded again alone")
    if evaluation.cut_off:
        lines.append(f"{evaluation.cut_off} replies were cut off at their limit of tokens")
    return "\n".join(lines)


def overlap_report(evaluation: "Evaluation", seen: set[str]) -> str:
    """How many of the items are training data, and the score on the others."""
    from dycktune.evaluation.metrics import Proportion

    rows = zip(evaluation.completions, evaluation.answers.correct, strict=True)
    unseen = [correct for completion, correct in rows if completion.item.key not in seen]
    shared = len(evaluation.completions) - len(unseen)
    return (
        f"{shared} of these items are in the training data; exact match on the other {len(unseen)}: "
        + str(Proportion(sum(unseen), len(unseen)))
    )


def _task(model: str | None, name: str | None, options: dict[str, str]) -> Task:
    """The named task, else the model's own with these options on top, else brackets."""
    if name is not None:
        return make_task(name, options, texts=True)
    from dycktune.models.loading import read_card

    card = None if model is None else read_card(model)
    if card is None:
        return make_task(options=options, texts=True)
    own = card.make_task()
    return own.with_options(options) if options else own


def _items(
    task: Task, examples: "list[Example] | None", benchmark: Path | None, *, count: int, seed: int
) -> Sequence[Item]:
    if benchmark is not None:
        return task.read_benchmark(benchmark)
    if examples is not None:
        return _items_in(examples)
    from dycktune.data.corpus import Corpus

    return list(Corpus(task, count=count, split="test", seed=seed))


def _examples_of(task: Task, data: str, skipped: "Skipped | None") -> "list[Example]":
    from dycktune.data.rows import read_examples

    return list(read_examples(data, task, skipped=skipped))


def _items_in(examples: "list[Example]") -> list[Item]:
    return [example.item for example in examples if example.item is not None]


def _seen(
    model: str | None, task: Task, trained_on: str | None, *, skipped: "Skipped | None"
) -> set[str] | None:
    """Keys of the items that the model was trained on; None if they are not known."""
    if trained_on is not None:
        return {item.key for item in _items_in(_examples_of(task, trained_on, skipped))}
    from dycktune.runs import RunFolder

    if model is None or not (run := RunFolder(Path(model))).config.is_file():
        return None
    from dycktune.training import recipe
    from dycktune.training.examples import train_examples

    examples = train_examples(recipe.load(run.config))
    return {example.item.key for example in examples if example.item is not None}


def _group(title: str, shares: "dict[str, Proportion]") -> str:
    rows = [f"  {value:>9}  {share}  n = {share.n}" for value, share in shares.items()]
    return "\n".join([title, *rows])


def answers_on(bar: "Bar", questions: int) -> Callable[[int], None]:
    """Shows on a bar how many questions are answered, and what follows the last answer."""

    def show(answered: int) -> None:
        if answered < questions:
            bar.advance(answered)
        else:
            bar.begin("checking a sample of the replies with plain decoding")

    return show

"""The command line: which commands there are, and how their errors are told."""

import sys
import warnings
from collections.abc import Sequence
from importlib.metadata import version

from cyclopts import App, CycloptsError

from dycktune import ranks
from dycktune.errors import DycktuneError

COMMANDS = {
    "quickstart": "Do the whole run on a small built-in model: data, training, diagnosis, selection, evaluation.",
    "generate": "Write problems with correct traces to a JSONL or Parquet file.",
    "train": "Fine-tune a base with LoRA as a recipe says, then diagnose, select and merge.",
    "diagnose": "Say what a training log shows, which checkpoint to deploy and what to change.",
    "evaluate": "Measure exact match and trace validity of a model.",
    "select": "Choose the checkpoint of a run to deploy, by verified answers, and merge it.",
    "merge": "Merge an adapter into its base and prove that both write the same.",
    "complete": "Complete bracket sequences with a model.",
    "verify": "Judge a response: format, each step, final answer.",
    "tokens": "Show how a model's tokenizer cuts brackets, and the lengths of its examples.",
}
"""Name to one-line help; each is the function of that name in the module of that name, imported when called."""

app = App(
    name="dycktune",
    help="Fine-tune language models on reasoning traces with verifiable answers, and know whether it worked.",
    version=lambda: version("dycktune"),
    help_format="plaintext",
)
for _name, _help in COMMANDS.items():
    app.command(f"dycktune.commands.{_name}:{_name}", name=_name, help=_help)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Returns the exit status: 0 done, 1 the answer is no, 2 unusable input."""
    try:
        status = app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        return _complain(f"{error} (see: dycktune {_command(arguments)}--help)")
    except DycktuneError as error:
        return _complain(str(error))
    except RuntimeError as error:
        if not ranks.is_lost_peer(error):
            raise
        return _complain("stopped, as another rank is gone; that rank or the launcher says why")
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader of a pipe, such as head, has seen enough.
        sys.stderr.close()
        return 0
    ranks.finalize()
    return status if isinstance(status, int) else 0


def _complain(message: str) -> int:
    who = f"dycktune, rank {ranks.rank()}" if ranks.world_size() > 1 else "dycktune"
    print(f"{who}: {' '.join(message.split())}", file=sys.stderr)
    return 2


def _command(arguments: Sequence[str] | None) -> str:
    given = list(sys.argv[1:] if arguments is None else arguments)
    return f"{given[0]} " if given and given[0] in COMMANDS else ""


def run() -> None:
    """Entry point of the `dycktune` script."""
    # What libraries tell their callers' authors is noise to a user; tests still see it.
    warnings.simplefilter("ignore")
    ranks.exit_process(ranks.record_errors(main)())

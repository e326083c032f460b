"""The command line: the commands, and how their errors are reported."""

import errno
import os
import sys
import warnings
from collections.abc import Sequence
from importlib.metadata import version

from cyclopts import App, CycloptsError

from dycktune import ranks
from dycktune.errors import DycktuneError
from dycktune.interrupts import Terminated, raise_on_sigterm

COMMANDS = (
    "quickstart",
    "generate",
    "preview",
    "plan",
    "train",
    "diagnose",
    "report",
    "evaluate",
    "select",
    "merge",
    "export",
    "push",
    "ship",
    "complete",
    "verify",
    "tokens",
    "runs",
    "migrate",
    "schema",
    "chat",
    "app",
    "serve",
)
"""Each is the function of that name in the module of that name under `commands`, imported when it is called."""

app = App(
    name="dycktune",
    help="Fine-tune language models on reasoning traces with verifiable answers, and know whether it worked.",
    version=lambda: version("dycktune"),
    help_format="markdown",
    suppress_keyboard_interrupt=False,
)
for _name in COMMANDS:
    app.command(f"dycktune.commands.{_name}:{_name}", name=_name)
app.register_install_completion_command(
    help="Complete commands and options with Tab in this shell from now on."
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Returns the exit status: 0 done, 1 the answer is no, 2 unusable input."""
    if not _command(arguments):
        # The overview shows a description of every command.
        for name in COMMANDS:
            _ = app[name]
    try:
        status = app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        return _complain(f"{error} (see: dycktune {_command(arguments)}--help)")
    except DycktuneError as error:
        return _complain(str(error))
    except RuntimeError as error:
        if type(error).__name__ == "OutOfMemoryError":
            return _complain(f"the device is out of memory: {str(error).partition('. ')[0]}")
        if not ranks.is_lost_peer(error):
            raise
        return _complain("stopped, because another rank is gone; that rank or the launcher says why")
    except KeyboardInterrupt as interrupt:
        return _stopped(interrupt)
    except BrokenPipeError:
        # The reader of a pipe, such as head, has closed it.
        sys.stderr.close()
        return 0
    except OSError as error:
        if error.errno not in _REMEDIES:
            raise
        place = f"{error.filename}: " if error.filename else ""
        return _complain(f"{place}{error.strerror}; {_REMEDIES[error.errno]}")
    ranks.finalize()
    return status if isinstance(status, int) else 0


_MAKE_ROOM = "make room, and start again with the same command"
_WRITABLE = "choose a place that can be written"
_REMEDIES = {
    errno.ENOSPC: _MAKE_ROOM,
    errno.EDQUOT: _MAKE_ROOM,
    errno.EFBIG: _MAKE_ROOM,
    errno.EROFS: _WRITABLE,
    errno.EACCES: _WRITABLE,
    errno.EPERM: _WRITABLE,
}
"""Faults of a disk that are no faults of this program, and what to do."""


def _stopped(interrupt: KeyboardInterrupt) -> int:
    """Say in one line how to go on. Returns the status that shells give a program stopped by Ctrl-C or SIGTERM."""
    if ranks.is_main():
        # A terminal shows ^C where the cursor was.
        start = "\n" if sys.stderr.isatty() else ""
        print(f"{start}dycktune: stopped" + "".join(f"; {hint}" for hint in interrupt.args), file=sys.stderr)
    return 143 if isinstance(interrupt, Terminated) else 130


def _complain(message: str) -> int:
    who = f"dycktune, rank {ranks.rank()}" if ranks.world_size() > 1 else "dycktune"
    print(f"{who}: {' '.join(message.split())}", file=sys.stderr)
    return 2


def _command(arguments: Sequence[str] | None) -> str:
    given = list(sys.argv[1:] if arguments is None else arguments)
    return f"{given[0]} " if given and given[0] in COMMANDS else ""


def run() -> None:
    """Entry point of the `dycktune` script."""
    # Warnings of libraries to their developers are noise to a user; tests still see them.
    warnings.simplefilter("ignore")
    # The Hub's client reports every retry; the command's own error says that it failed. It reads this on import.
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")
    raise_on_sigterm()
    ranks.exit_process(ranks.record_errors(main)())

"""Other programs that read a finished training log, run as their users run them, beside the doctor.

    python -m venv /tmp/tools && /tmp/tools/bin/pip install 'dycktune[doctor-peers]'
    python benchmarks/doctor_tools.py --bin /tmp/tools/bin [--curves DIR] [--logs DIR] [--json]

Each gets the same files in a folder of their own. A run is called ill by a finding of warning or worse; notes do not
count. A step counts where the program names one to keep.
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from doctor import CURVES, Score, score

ILL = frozenset({"warning", "error", "critical", "WARN", "FAIL"})
SETTINGS = frozenset({"lr_schedule", "grad_norm", "eval_noise"})
"""Findings of trainspotter on a schedule, on single norms or on noise: left out, or it would call most runs ill."""

SECONDS = 60
"""After which a program that has not answered counts as not reading the file."""

STEP = re.compile(r"(?:checkpoint|best)[^.;]*? step (\d+)")
"""How the programs name the step to keep."""


class Answer(NamedTuple):
    """What a program says of one file."""

    read: bool
    """Whether it took the file for a log and found a loss in it."""

    ill: bool
    step: int | None
    """The step to keep; None where it names none."""

    lowest_loss: int | None = None
    """The step of lowest loss, where that is another question."""

    def by_loss(self) -> int | None:
        """The step to keep for its loss."""
        return self.step if self.lowest_loss is None else self.lowest_loss


UNREAD = Answer(read=False, ill=False, step=None)


class Labelled(NamedTuple):
    """A log with what may be said of it."""

    path: Path
    healthy: bool
    steps: frozenset[int]
    """Acceptable steps."""


@dataclass(frozen=True, kw_only=True)
class Tool:
    """One program."""

    name: str
    arguments: tuple[str, ...]
    """Its command, up to the path of the log."""

    answer: Callable[[Any], Answer]
    """Reads its JSON."""

    def ask(self, folder: Path, file: Path) -> Answer:
        """Run it on a file; a program that fails, or takes too long, has not read it."""
        command = [str(folder / self.arguments[0]), *self.arguments[1:], str(file)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
            return self.answer(json.loads(done.stdout))
        except (subprocess.TimeoutExpired, ValueError, LookupError, TypeError):
            return UNREAD


def trainproof(said: Any) -> Answer:
    """A report a file; none for a file it could not read."""
    report = said["reports"][0]
    findings = [finding for finding in report["findings"] if finding["level"] in ILL]
    return Answer(
        read=True, ill=bool(findings), step=_step(finding["evidence"] for finding in report["findings"])
    )


def trainspotter(said: Any) -> Answer:
    """Findings with a severity; the advice names the checkpoint."""
    findings = [one for one in said["findings"] if one["severity"] in ILL and one["detector"] not in SETTINGS]
    return Answer(
        read=True, ill=bool(findings), step=_step(fix for one in said["findings"] for fix in one["fixes"])
    )


def losslint(said: Any) -> Answer:
    """Findings with a severity; overfitting is one of its notes, and counts as found."""
    checks = [one for one in said["findings"] if one["severity"] in ILL or one["check"] == "overfit_onset"]
    since = [one["details"].get("since_step") for one in said["findings"] if one["check"] == "overfit_onset"]
    return Answer(read=bool(said["runs"][0]["points"]), ill=bool(checks), step=since[0] if since else None)


def runmedic(said: Any) -> Answer:
    """Findings with a severity, of the first run in the file."""
    findings = said[0]["findings"]
    ill = any(one["severity"] in ILL for one in findings)
    read = bool(set(said[0]["roles"]) & {"train_loss", "val_loss"})
    return Answer(read=read, ill=ill, step=_step(fix for one in findings for fix in one["fixes"]))


def dycktune(said: Any) -> Answer:
    """The doctor's own JSON."""
    ill = said["label"] not in ("healthy", "too_short", "not_applicable")
    return Answer(read=True, ill=ill, step=said["recommended_step"], lowest_loss=said["best_step"])


def _step(texts: Iterable[str]) -> int | None:
    """The step that a text names to keep."""
    found = [match for text in texts if (match := STEP.search(text))]
    return int(found[0][1]) if found else None


TOOLS = (
    Tool(name="trainproof 0.22.0", arguments=("trainproof", "doctor", "--json"), answer=trainproof),
    Tool(
        name="trainspotter 0.2.6",
        arguments=("trainspotter", "analyze", "--output", "json"),
        answer=trainspotter,
    ),
    Tool(name="losslint 0.4.1", arguments=("losslint", "check", "--format", "json"), answer=losslint),
    Tool(name="runmedic 0.1.1", arguments=("runmedic", "diagnose", "--json"), answer=runmedic),
)
OURS = Tool(name="dycktune", arguments=("dycktune", "diagnose", "--json"), answer=dycktune)


def labelled(curves: Path) -> Iterator[Labelled]:
    """The unambiguous logs that are healthy or ill."""
    for run in json.loads((curves / "index.json").read_text()):
        clear = run["usable_core"] and not run["near_duplicate_of"] and not run["ambiguous"]
        if clear and run["label"] not in ("too_short", "not_applicable"):
            steps = frozenset(run["acceptable_best_steps"])
            yield Labelled(curves / f"{run['id']}.json", run["label"] == "healthy", steps)


def by_metric(curves: Path) -> Iterator[Labelled]:
    """The logs with a task metric, and the steps that are as good as the best by it."""
    for run in json.loads((curves / "metrics-index.json").read_text()):
        steps = frozenset(run["acceptable_steps"])
        yield Labelled(curves / f"{run['id']}.json", healthy=False, steps=steps)


def figures(tool: Tool, folder: Path, curves: Path, logs: Path) -> dict[str, Score]:
    """What a program gets right."""
    runs = list(labelled(curves))
    answers = [_alone(tool, folder, run.path, "trainer_state.json") for run in runs]
    measured = list(by_metric(curves))
    steps = [_alone(tool, folder, run.path, "trainer_state.json").step for run in measured]
    files = [logs / row["file"] for row in json.loads((logs / "index.json").read_text())]
    pairs = list(zip(runs, answers, strict=True))
    return {
        "healthy called ill": score(answer.ill for run, answer in pairs if run.healthy),
        "ill found": score(answer.ill for run, answer in pairs if not run.healthy),
        "acceptable step, ill runs, by loss": score(
            answer.by_loss() in run.steps for run, answer in pairs if not run.healthy and run.steps
        ),
        "names a step, runs with a metric": score(step is not None for step in steps),
        "acceptable step, by metric": score(
            step in run.steps for run, step in zip(measured, steps, strict=True)
        ),
        "files read": score(_alone(tool, folder, file, file.name).read for file in files),
    }


def _alone(tool: Tool, folder: Path, file: Path, name: str) -> Answer:
    """The answer to a file in a folder of its own, under the name its writer gives it."""
    with tempfile.TemporaryDirectory() as place:
        copy = Path(place) / name
        shutil.copyfile(file, copy)
        return tool.ask(folder, copy)


def main() -> None:
    """Read the options, run, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bin", type=Path, required=True, help="folder of the other programs' commands")
    parser.add_argument(
        "--curves", type=Path, default=CURVES, help="folder of labelled logs with their indexes"
    )
    parser.add_argument(
        "--logs", type=Path, default=CURVES.parent / "logs", help="folder of logs in many formats"
    )
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    own = Path(sys.executable).parent
    places = [(OURS, own), *((tool, options.bin) for tool in TOOLS)]
    report = {tool.name: figures(tool, place, options.curves, options.logs) for tool, place in places}
    if options.json:
        print(json.dumps(report, indent=1))
        return
    for name, found in report.items():
        print(f"\n{name}")
        for what, value in found.items():
            print(f"  {what:36} {value}")


if __name__ == "__main__":
    main()

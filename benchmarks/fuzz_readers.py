"""Fuzz the readers with inputs that new branches of their code lead to (atheris, https://github.com/google/atheris).

Each reader begins with sound files and gets changed ones, for a number of inputs or seconds. An input counts as a fault
if the reader raises anything but a `DycktuneError` of one line, takes over 10 seconds, or needs over 2 GiB; the input
is then kept in the folder.

    pip install atheris
    python benchmarks/fuzz_readers.py                         all readers, 30 seconds each
    python benchmarks/fuzz_readers.py logs --seconds 600      one reader
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

SLOWEST, LARGEST = 10, 2048
"""Seconds of one input, and MiB of the process."""


def read_rows(path: Path) -> None:
    """Rows and their examples; the first byte chooses the format."""
    from dycktune.data.rows import examples_and_faults

    list(examples_and_faults(path))


def read_recipe(path: Path) -> None:
    """A recipe."""
    from dycktune.training.recipe import load

    load(path)


def read_log(path: Path) -> None:
    """A training log of any format, with its curves."""
    from dycktune.diagnosis.curves import curves
    from dycktune.diagnosis.readers import read_log as read

    curves(read(path))


def read_header(path: Path) -> None:
    """The header of a GGUF file, its sizes and its vocabulary."""
    from dycktune.models.gguf.header import read_header as read
    from dycktune.models.gguf.layout import read_layout

    read_layout(read(path))


def read_template(path: Path) -> None:
    """A chat template, before it is rendered."""
    from jinja2 import TemplateSyntaxError

    from dycktune.models.template_limits import TemplateLimitError, check_template

    try:
        check_template(path.read_text(encoding="utf-8", errors="replace"))
    except (TemplateLimitError, TemplateSyntaxError):
        return


READERS: dict[str, tuple[Callable[[Path], None], tuple[str, ...]]] = {
    "rows": (read_rows, ("rows.jsonl", "rows.json", "rows.csv", "rows.tsv", "rows.jsonl.gz", "rows.parquet")),
    "recipes": (read_recipe, ("recipe.toml",)),
    "logs": (read_log, ("log", "trainer_state.json", "a.jsonl", "a.csv", "events.out.tfevents.1")),
    "gguf": (read_header, ("model.gguf",)),
    "templates": (read_template, ("chat_template.jinja",)),
}
"""Each reader, and the names of files by which it chooses a format; the first byte of an input chooses the name."""


def seeds(reader: str) -> list[bytes]:
    """Sound files, as the tests hold them."""
    sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
    if reader == "rows":
        from fuzz.test_rows import FILES

        return [bytes([READERS["rows"][1].index(name)]) + content for name, content in FILES.items()]
    if reader == "logs":
        return [b"\0" + content for content in _logs().values()]
    if reader == "recipes":
        from dycktune.training import recipe
        from dycktune.training.config import Config

        return [b"\0" + recipe.to_toml(Config()).encode()]
    if reader == "templates":
        from small_models import FAMILIES, make_tokenizer

        return [b"\0" + str(make_tokenizer(name).chat_template).encode() for name in FAMILIES]
    from small_gguf import write_gguf

    with tempfile.TemporaryDirectory() as folder:
        return [b"\0" + write_gguf(Path(folder) / "model.gguf").read_bytes()[:8000]]


def _logs() -> dict[str, bytes]:
    from importlib.util import module_from_spec, spec_from_file_location

    path = Path(__file__).parent.parent / "tests/diagnosis/readers/test_robust_readers.py"
    spec = spec_from_file_location("robust_readers", path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.EXAMPLES


def fuzz(reader: str, seconds: float, folder: Path) -> None:
    """Fuzz one reader in this process, which ends at the first fault."""
    import atheris

    with atheris.instrument_imports(include=["dycktune"]):
        import dycktune.data.rows
        import dycktune.diagnosis.readers
        import dycktune.models.gguf.layout
        import dycktune.models.template_limits
        import dycktune.training.recipe  # noqa: F401 - instrumented here
    from dycktune.errors import DycktuneError

    read, names = READERS[reader]

    def one(data: bytes) -> None:
        path = folder / names[data[0] % len(names) if data else 0]
        path.write_bytes(data[1:])
        try:
            read(path)
        except DycktuneError as error:
            message = str(error)
            assert message.strip()
            assert "\n" not in message, message
            assert len(message) < 2500, message

    corpus = folder / "corpus"
    corpus.mkdir()
    for number, content in enumerate(seeds(reader)):
        (corpus / str(number)).write_bytes(content)
    options = [
        f"-max_total_time={seconds:g}",
        f"-timeout={SLOWEST}",
        f"-rss_limit_mb={LARGEST}",
        "-max_len=16000",
        "-print_final_stats=1",
        f"-artifact_prefix={Path.cwd()}/fault-{reader}-",
    ]
    atheris.Setup([sys.argv[0], *options, str(corpus)], one)
    atheris.Fuzz()


def main() -> int:
    """Fuzz each reader in a process of its own, and print a line for each as JSON."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("readers", nargs="*", choices=[*READERS, []], default=[])
    arguments.add_argument("--seconds", type=float, default=30)
    arguments.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    asked = arguments.parse_args()
    if asked.inside:
        with tempfile.TemporaryDirectory() as folder:
            fuzz(asked.readers[0], asked.seconds, Path(folder))
        return 0
    statuses = [_report(reader, asked.seconds) for reader in asked.readers or READERS]
    return max(statuses)


def _report(reader: str, seconds: float) -> int:
    command = [sys.executable, __file__, reader, "--seconds", str(seconds), "--inside"]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    figures = dict(re.findall(r"stat::(\w+):\s+(\d+)", done.stderr))
    covered = re.findall(r"cov: (\d+)", done.stderr)
    row = {
        "reader": reader,
        "inputs": int(figures.get("number_of_executed_units", 0)),
        "slowest_seconds": int(figures.get("slowest_unit_time_sec", 0)),
        "peak_mib": int(figures.get("peak_rss_mb", 0)),
        "edges": [int(covered[0]), int(covered[-1])] if covered else [],
        "fault": done.returncode != 0,
    }
    print(json.dumps(row), flush=True)
    if done.returncode:
        print(done.stderr[-3000:], file=sys.stderr)
    return int(bool(done.returncode))


if __name__ == "__main__":
    raise SystemExit(main())

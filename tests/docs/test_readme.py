"""The Python example of the README, run as it stands; only the recipe is a small one."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RECIPE = """
[model]
base = "builtin:tiny"
dtype = "float32"

[task]
max_length = 4

[data]
count = 16
eval_count = 4

[optim]
batch_size = 4
accumulation = 1
max_steps = 2
checkpointing = false

[eval]
steps = 1
exact_match = 1

[save]
steps = 1

[select]
count = 2
"""


@pytest.mark.slow
def test_the_python_example_runs(tmp_path, monkeypatch, capsys):
    (example,) = re.findall(
        r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL
    )
    assert len(example.strip().splitlines()) <= 9
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "quickstart.toml").write_text(RECIPE)
    monkeypatch.chdir(tmp_path)
    exec(compile(example, "README.md", "exec"), {})  # noqa: S102 - our own text
    printed = capsys.readouterr().out
    assert "False" in printed or "True" in printed
    assert (tmp_path / "runs" / "mine" / "merged").is_dir()


def test_the_readme_is_no_longer_than_150_lines():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150

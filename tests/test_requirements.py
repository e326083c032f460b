"""requirements.lock, which `make lock` writes from constraints.txt and pyproject.toml."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def blocks() -> list[str]:
    return re.split(r"\n(?=\S)", (ROOT / "requirements.lock").read_text().split("make lock\n", 1)[1].strip())


def test_every_package_has_one_version_and_hashes():
    for block in blocks():
        assert re.match(r"[a-z0-9-]+==\S+ ", block), block
        assert re.search(r"--hash=sha256:[0-9a-f]{64}$", block), block


def test_the_pinned_versions_are_those_of_the_constraints():
    locked = {tuple(block.split()[0].split("==")) for block in blocks()}
    wanted = {
        tuple(line.replace("_", "-").split("=="))
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if not line.startswith("#")
    }
    assert wanted <= locked

"""requirements.lock, which `make lock` writes from constraints.txt and pyproject.toml."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PINNED = re.compile(r"(?P<name>[a-z0-9-]+)(\[[a-z0-9, -]+\])?==(?P<version>\S+) ")


def blocks() -> list[str]:
    return re.split(r"\n(?=\S)", (ROOT / "requirements.lock").read_text().split("make lock\n", 1)[1].strip())


def test_every_package_has_one_version_and_hashes():
    for block in blocks():
        assert PINNED.match(block), block
        assert re.search(r"--hash=sha256:[0-9a-f]{64}$", block), block


def test_extras_are_kept_for_pip_refuses_a_lock_without_them():
    # dataproperty needs typepy[datetime], which `typepy==…` does not pin for pip --require-hashes.
    assert any(block.startswith("typepy[datetime]==") for block in blocks())


def test_the_pinned_versions_are_those_of_the_constraints():
    locked = {(found["name"], found["version"]) for block in blocks() if (found := PINNED.match(block))}
    wanted = {
        tuple(line.replace("_", "-").split("=="))
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if not line.startswith("#")
    }
    assert wanted <= locked

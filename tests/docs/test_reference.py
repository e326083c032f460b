import importlib.util
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def pages():
    spec = importlib.util.spec_from_file_location("reference", DOCS / "reference.py")
    reference = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(reference)
    return reference.pages()


@pytest.mark.parametrize("name", ["commands.md", "recipe.md", "api.md"])
def test_the_reference_is_what_the_code_says(pages, name):
    stored = (DOCS / "reference" / name).read_text(encoding="utf-8")
    assert stored == pages[name], "run: python docs/reference.py"

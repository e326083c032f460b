import sys

import pytest

from dycktune.cli import main


def test_without_the_packages_of_the_extra_the_error_says_how_to_install_them(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert main(["serve", "builtin:tiny"]) == 2
    err = capsys.readouterr().err
    assert "pip install 'dycktune[serve]'" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["builtin:huge"], "unknown built-in model"),
        (["builtin:tiny", "--port", "99999"], "port 99999"),
        (["builtin:tiny", "--host", "0.0.0.0"], "set the key that clients must send in DYCKTUNE_API_KEY"),  # noqa: S104
    ],
)
def test_a_model_or_an_address_that_cannot_be_used_is_one_plain_line(capsys, monkeypatch, arguments, message):
    monkeypatch.delenv("DYCKTUNE_API_KEY", raising=False)
    assert main(["serve", *arguments]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1

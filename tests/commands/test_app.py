import sys

import pytest

from dycktune.cli import main


def test_without_the_packages_of_the_extra_the_error_says_how_to_install_them(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert main(["app"]) == 2
    err = capsys.readouterr().err
    assert "pip install 'dycktune[app]'" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    "arguments", [["--model", "builtin:huge"], ["--host", "no.such.host.invalid"], ["--port", "99999"]]
)
def test_an_address_or_a_model_that_cannot_be_used_is_one_plain_line(capsys, arguments):
    assert main(["app", *arguments]) == 2
    assert capsys.readouterr().err.count("\n") == 1

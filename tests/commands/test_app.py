import socket
import sys

import pytest

from dycktune.cli import main
from dycktune.commands.app import _address, _listen
from dycktune.errors import ConfigError


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


def test_a_port_in_use_is_named_if_it_was_asked_for_and_passed_over_if_not(monkeypatch):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"port {port}"):
            _listen("127.0.0.1", port)
        monkeypatch.setattr("dycktune.commands.app.PORT", port)
        with _listen("127.0.0.1", None) as free:
            assert free.getsockname()[1] != port


@pytest.mark.parametrize(
    ("host", "token", "address"),
    [
        ("127.0.0.1", None, "http://127.0.0.1:7870/"),
        ("::1", None, "http://[::1]:7870/"),
        ("0.0.0.0", "abc", f"http://{socket.gethostname()}:7870/?token=abc"),  # noqa: S104 - the case
        ("10.1.2.3", "abc", "http://10.1.2.3:7870/?token=abc"),
    ],
)
def test_the_printed_address_can_be_opened(host, token, address):
    assert _address(host, 7870, token) == address

import socket

import pytest

from dycktune.commands.listening import address, listen
from dycktune.errors import ConfigError


def test_a_port_in_use_is_named_if_it_was_asked_for_and_passed_over_if_not():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"port {port}"):
            listen("127.0.0.1", port, usual=7870)
        with listen("127.0.0.1", None, usual=port) as free:
            assert free.getsockname()[1] != port


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", "http://127.0.0.1:7870"),
        ("::1", "http://[::1]:7870"),
        ("0.0.0.0", f"http://{socket.gethostname()}:7870"),  # noqa: S104 - the case
        ("10.1.2.3", "http://10.1.2.3:7870"),
    ],
)
def test_the_printed_address_can_be_opened(host, expected):
    assert address(host, 7870) == expected

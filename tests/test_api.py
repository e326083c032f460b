import subprocess
import sys

import pytest

import dycktune


def test_importing_the_package_loads_no_torch():
    code = "import dycktune, sys; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_command_line_is_told_without_loading_torch():
    code = "import dycktune.cli, sys; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("name", dycktune.__all__)
def test_every_public_name_is_there_when_asked_for(name):
    assert callable(getattr(dycktune, name))


def test_another_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="nosuch"):
        _ = dycktune.nosuch

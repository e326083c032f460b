"""`python -m dycktune`, for launchers that take a module."""

from dycktune.cli import run

if __name__ == "__main__":
    run()

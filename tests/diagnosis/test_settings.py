import pytest

from dycktune.diagnosis import diagnose
from dycktune.diagnosis.settings import Settings, read_settings


@pytest.fixture
def unstable(write_state, seed_rows):
    """The founding run's folder, gradients logged, with a configuration or none."""

    def write(optim: str | None):
        rows = [row | ({"grad_norm": 0.6} if "loss" in row else {}) for row in seed_rows]
        run = write_state(rows, folder="run").parent
        if optim is not None:
            (run / "config.toml").write_text(f"[optim]\n{optim}\n")
        return " ".join(diagnose(run).advice)

    return write


def test_advice_names_what_the_run_itself_had(unstable):
    advice = unstable("warmup = 0.05\nmax_grad_norm = 0.5")
    assert "warmup 0.05 to 0.2" in advice
    assert "clipped near their usual norm already (max_grad_norm 0.5, median 0.6" in advice


def test_a_long_warm_up_is_not_told_to_be_longer_and_loose_clipping_to_be_tighter(unstable):
    advice = unstable("warmup = 0.8\nmax_grad_norm = 5")
    assert "warm up" not in advice
    assert "Clip gradients at 0.6" in advice


def test_without_a_configuration_the_log_alone_speaks(unstable):
    assert "warm up longer, over a fifth of the steps" in unstable(None)


@pytest.mark.parametrize("text", ["", "optim = 3", "[optim]\nwarmup = 'x'", "not toml ["])
def test_what_cannot_be_read_says_nothing(tmp_path, text):
    (tmp_path / "config.toml").write_text(text)
    assert read_settings(tmp_path) == read_settings(tmp_path / "checkpoints") == Settings()

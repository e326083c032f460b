import json
import math

import pytest

from dycktune.diagnosis import diagnose, draw
from dycktune.diagnosis.guarded import read_events
from dycktune.errors import RunError


def event(action="rolled back", reason="loss", abandoned=(301, 320), restored=300, factor=0.5, **evidence):
    return {
        "step": abandoned[1],
        "action": action,
        "reason": reason,
        "evidence": evidence or {"loss": 9.0, "baseline": 0.7},
        "abandoned": list(abandoned),
        "restored_step": restored,
        "learning_rate_factor": factor,
        "rollbacks_left": 7,
    }


FALLING = [1.0, 0.8, 0.65, 0.55, 0.48, 0.44, 0.42, 0.41]


@pytest.fixture
def guarded(write_state, curve):
    """A healthy run's folder, in whose log a divergence stands that the events say was taken back."""

    def write(*events, rows=()):
        lr = [1e-3] * 31 + [5e-4] * 49
        train = [FALLING[i // 10] for i in range(80)]
        state = write_state(
            [*curve(FALLING, train, lr=lr), *rows], folder="run", max_steps=800, global_step=800
        )
        (state.parent / "guard.jsonl").write_text("".join(json.dumps(e) + "\n" for e in events))
        return state.parent

    return write


def test_what_the_guard_took_back_makes_no_run_ill(guarded):
    lost = [{"step": 320, "loss": math.nan, "grad_norm": math.nan}]
    assert diagnose(guarded(rows=lost)).label == "nan_inf"
    healed = diagnose(guarded(event(reason="non_finite", loss=math.nan), rows=lost))
    assert healed.label == "healthy"
    (note,) = [finding for finding in healed.findings if finding.kind == "guard"]
    assert (note.first_step, note.last_step) == (301, 320)
    assert "from step 320 to the weights of step 300" in note.message
    assert "the learning rate is × 0.5 since" in note.message


def test_the_next_run_is_told_the_rate_the_guard_came_to(guarded):
    assert any("peak learning rate of 0.0005" in line for line in diagnose(guarded(event())).advice)
    assert not any("the guard" in line for line in diagnose(guarded()).advice)


def test_a_run_the_guard_stopped_is_unstable(guarded):
    stopped = diagnose(guarded(event(), event(action="stopped", abandoned=(701, 720), restored=700)))
    assert stopped.label == "instability"
    assert "it stopped the run" in stopped.deciding.message


def test_steps_skipped_in_a_row_are_told_as_one(guarded):
    skips = [
        event(action="skipped", reason="data", abandoned=(step, step), loss=9.0) for step in range(321, 330)
    ]
    notes = [finding for finding in diagnose(guarded(event(), *skips)).findings if finding.kind == "guard"]
    assert [(note.first_step, note.last_step) for note in notes] == [(301, 320), (321, 329)]
    assert "skipped steps 321 to 329" in notes[1].message


@pytest.mark.parametrize(
    ("reason", "evidence", "kept"),
    [
        ("loss", {"loss": 9.0, "baseline": 0.7}, True),
        ("eval", {"eval_loss": 9.0, "baseline": 0.7}, False),
    ],
)
def test_an_evaluation_at_the_step_of_the_rollback_counts_unless_it_gave_the_alarm(
    guarded, reason, evidence, kept
):
    run = guarded(event(reason=reason, abandoned=(301, 400), **evidence))
    steps = diagnose(run).view.curves.evals.steps
    assert (400 in steps) is kept


def test_the_events_of_a_run_are_found_from_its_checkpoints_too(guarded):
    run = guarded(event())
    assert read_events(run / "checkpoints") == read_events(run) != ()


def test_a_line_that_was_cut_off_is_left_out_and_another_s_file_is_refused(guarded):
    run = guarded(event())
    file = run / "guard.jsonl"
    file.write_text(file.read_text() + '{"step": 4')
    assert len(read_events(run)) == 1
    file.write_text('{"step": 4}\n')
    with pytest.raises(RunError, match=r"guard\.jsonl: not what the guard writes"):
        diagnose(run)


def test_what_was_taken_back_is_in_the_picture(guarded, tmp_path):
    from matplotlib import rc_context

    with rc_context({"svg.fonttype": "none"}):
        draw(diagnose(guarded(event())), tmp_path / "loss.svg")
    assert (tmp_path / "loss.svg").read_text().count("taken back by the guard") == 1

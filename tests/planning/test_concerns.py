import json
from dataclasses import replace

import pytest

from dycktune.planning.concerns import Concern, concerns
from dycktune.planning.plan import plan
from dycktune.training.recipe import build

DATA = {"count": 300, "eval_count": 120}
SOUND = {
    "model": {"base": "builtin:tiny", "dtype": "float32"},
    "task": {"max_length": 8},
    "data": DATA,
    "optim": {"learning_rate": 1e-3, "warmup": 0.1, "batch_size": 4, "accumulation": 2},
    "eval": {"steps": 25, "exact_match": 40},
    "select": {"count": 120},
}


def planned(**changes: object):
    """The plan of a sound recipe with some changes, by `section__field`; nothing is measured."""
    content = {name: dict(part) for name, part in SOUND.items()}
    for name, value in changes.items():
        section, _, field = name.partition("__")
        content.setdefault(section, {})[field] = value
    return plan(build(content, {}), measured=False)


def warned(**changes: object) -> list[Concern]:
    return [concern for concern in planned(**changes).concerns if concern.severity == "warning"]


def test_a_sound_recipe_has_no_concern():
    assert planned().concerns == ()


@pytest.mark.parametrize(
    ("changes", "field", "said"),
    [
        ({"model__trust_remote_code": True}, "model.trust_remote_code", "code that comes with builtin:tiny"),
        ({"optim__learning_rate": 5e-2}, "optim.learning_rate", "times the highest usual one"),
        ({"optim__learning_rate": 1e-7}, "optim.learning_rate", "times below the lowest usual one"),
        ({"optim__warmup": 0.9}, "optim.warmup", "ends at step"),
        ({"optim__warmup": 1.0}, "optim.warmup", "never ends"),
        ({"optim__max_grad_norm": 0.0}, "optim.max_grad_norm", "not clipped"),
        ({"loss__answer_weight": 0.01}, "loss.answer_weight", "% of the loss weight"),
        ({"save__keep": 1}, "save.keep", "only the newest 1 of 4 checkpoints"),
        ({"save__steps": 40}, "save.steps", "do not meet"),
        ({"eval__steps": 1000, "save__steps": 1000}, "eval.steps", "but the run has"),
        ({"data__max_tokens": 120}, "data.max_tokens", "over data.max_tokens = 120"),
        ({"data__eval_count": 20}, "data.eval_count", "on 20 items"),
        ({"select__count": 20}, "select.count", "on 20 items"),
    ],
)
def test_each_fault_is_a_warning_that_names_its_field(changes, field, said):
    (concern,) = {concern.field: concern for concern in warned(**changes)}.values()
    assert concern.field == field
    assert said in concern.what
    assert concern.why
    assert concern.remedy


def test_the_suggested_answer_weight_gives_the_answer_a_fifth_of_the_loss():
    (concern,) = warned(loss__answer_weight=0.01, loss__reasoning_weight=1.0)
    # The remedy rounds to a whole number, so the answer weight of a large reasoning weight is precise.
    (scaled,) = warned(loss__answer_weight=1.0, loss__reasoning_weight=100.0)
    suggested = float(scaled.remedy.split("about ")[1].split(",")[0])
    assert concern.field == scaled.field
    assert warned(loss__answer_weight=suggested, loss__reasoning_weight=100.0) == []


def test_few_kept_checkpoints_are_fine_where_the_trainer_keeps_the_best_of_them():
    kept = {"save__keep": 1, "select__by": "eval_loss"}
    assert [concern.field for concern in warned(**kept)] == ["save.keep"]
    assert warned(**kept, save__load_best=True) == []


def test_a_low_but_usual_rate_of_full_fine_tuning_is_a_note():
    found = planned(optim__learning_rate=2e-5)
    assert [concern.severity for concern in found.concerns] == ["note"]
    assert not found.warned


def test_eval_rows_in_the_training_data_are_a_warning(tmp_path):
    rows = [{"prompt": f"{n} + 1?", "completion": f"FINAL ANSWER: {n + 1}"} for n in range(120)]
    for name in ("train", "eval"):
        (tmp_path / f"{name}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    files = {name: str(tmp_path / f"{name}.jsonl") for name in ("train", "eval")}
    recipe = build({**SOUND, "task": {"name": "marked_answer"}, "data": files}, {})
    found = plan(recipe, measured=False)
    assert not [concern for concern in found.concerns if "answer to the question" in concern.what]
    overlap = next(concern for concern in found.concerns if concern.field == "data.eval")
    assert "120 of 120 eval rows are in the training data" in overlap.what


def test_faults_of_data_files_name_the_row_and_what_to_do(tmp_path):
    train = [{"prompt": f"{n} + 1?", "completion": f"FINAL ANSWER: {n + 1}"} for n in range(120)]
    train += [
        {"prompt": "0 + 1?", "completion": "FINAL ANSWER: 2"},
        {"prompt": "2 + 2?", "completion": "four"},
    ]
    evaluation = [{"prompt": f"{n} + 2?", "completion": f"FINAL ANSWER: {n + 2}"} for n in range(9)]
    files = {}
    for name, rows in (("train", train), ("eval", evaluation)):
        path = tmp_path / f"{name}.jsonl"
        path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
        files[name] = str(path)
    found = plan(build({**SOUND, "task": {"name": "marked_answer"}, "data": files}, {}), measured=False)
    said = {concern.what: concern.remedy for concern in found.concerns}
    assert f"1 train row cannot be used, the first at {files['train']}:122" in said
    assert "1 training row with another answer to the question of an earlier row" in said
    assert said["selection compares checkpoints on 9 items"].startswith("add rows to data.eval; ")


def test_examples_beyond_the_context_of_the_base_are_a_warning():
    facts = planned().facts
    short = replace(facts, footprint=replace(facts.footprint, context=100))
    (concern,) = concerns(short)
    assert "and the base reads 100" in concern.what


def test_too_little_memory_or_disk_is_a_warning():
    facts = planned().facts
    assert [c.field for c in concerns(replace(facts, free_memory=1000))] == ["optim.batch_size"]
    assert [c.field for c in concerns(replace(facts, free_disk=1000))] == ["save.steps"]

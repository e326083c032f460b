import pytest

from dycktune.evaluation.evaluate import evaluate
from dycktune.evaluation.record import from_file, generated, record_evaluation
from dycktune.evaluation.wrong_replies import KEPT, joined, wrong_replies
from dycktune.models.loading import LoadedModel
from dycktune.runs import RunFolder, model_in_run, open_run
from dycktune.tasks.dyck.problem import Problem
from small_models import make_model, make_tokenizer
from small_runs import PREFIXES, dyck

TASK = dyck()
PROBLEMS = [Problem(prefix) for prefix in PREFIXES[:12]]


@pytest.fixture(scope="module")
def evaluation():
    tokenizer = make_tokenizer()
    loaded = LoadedModel(
        model=make_model(tokenizer).eval(), tokenizer=tokenizer, card=None, reference="random"
    )
    return evaluate(loaded, TASK, PROBLEMS)


@pytest.fixture
def run(tmp_path) -> RunFolder:
    return open_run(tmp_path, "[model]\n", resume=False)


def test_an_evaluation_is_recorded_with_its_model_its_groups_and_its_wrong_replies(run, evaluation):
    model = model_in_run(run.path)
    assert model
    record_evaluation(model, evaluation, generated(TASK, count=12, seed=3))
    (row,) = run.read_evaluations()
    assert (row["role"], row["step"], row["n"]) == ("tuned", None, 12)
    assert sum(cell["n"] for cell in row["cells"]) == 12
    assert {frozenset(cell["groups"]) for cell in row["cells"]} == {frozenset(("length", "depth"))}
    assert len(row["wrong_replies"]) == KEPT


def test_the_recorded_options_name_the_same_items():
    items = generated(dyck(max_length=9), count=12, seed=3)
    assert items.options
    assert items.options.startswith("--count 12 --seed 3")
    assert "--max-length 9" in items.options


def test_a_file_with_spaces_is_one_argument(tmp_path):
    assert from_file(tmp_path / "my rows.jsonl", "--data").options == f"--data '{tmp_path}/my rows.jsonl'"


def test_a_wrong_reply_is_kept_with_its_question_and_its_solution(evaluation):
    record = wrong_replies(TASK, evaluation.completions)[0]
    problem = next(problem for problem in PROBLEMS if problem.prefix == record["asked"])
    assert problem.prefix[-1] in record["question"]
    assert record["solution"] == TASK.solution(problem)
    assert record["correct"] is False


def test_wrong_replies_of_two_evaluations_are_joined_up_to_the_limit(evaluation):
    records = wrong_replies(TASK, evaluation.completions)
    assert len(joined(records[:4], records)) == KEPT
    assert joined([], records[:3]) == tuple(records[:3])


@pytest.mark.parametrize(
    ("place", "role", "step"),
    [
        (".", "tuned", None),
        ("merged", "tuned", None),
        ("adapter", "tuned", None),
        ("checkpoints/checkpoint-7", "checkpoint", 7),
    ],
)
def test_a_folder_of_a_run_stands_for_one_of_its_models(run, place, role, step):
    model = model_in_run(run.path / place)
    assert model
    assert (model.role, model.step, model.run.path) == (role, step, run.path)


@pytest.mark.parametrize("reference", ["builtin:tiny", "owner/name"])
def test_a_model_of_no_run_is_recorded_nowhere(reference, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert model_in_run(RunFolder(tmp_path).path / reference) is None

import re

import pytest
from huggingface_hub import ModelCard as HubCard

from dycktune.models.card import ModelCard
from dycktune.report import read_subject
from dycktune.report.model_card import public_name, readme
from dycktune.tasks.registry import make_task
from report.runs_on_disk import evaluation, write_run

GROUPS = {
    "by_length": {
        "9-16": {"n": 40, "exact_match": 0.75, "ci95": [0.6, 0.86]},
        "1-8": {"n": 60, "exact_match": 1.0, "ci95": [0.94, 1.0]},
    }
}


def card_of(path, *rows, base="owner/base", repo="me/brackets", adapter=False):
    run = write_run(path, *rows)
    return readme(read_subject(run), ModelCard.of(base, make_task()), repo, adapter=adapter)


def test_the_hub_reads_the_metadata_and_every_evaluation(tmp_path):
    data = HubCard(card_of(tmp_path / "run", evaluation(**GROUPS))).data
    assert (data.base_model, data.library_name, data.pipeline_tag) == (
        "owner/base",
        "transformers",
        "text-generation",
    )
    (result,) = data.eval_results
    assert (result.metric_type, result.metric_value, result.dataset_type) == ("exact_match", 0.9, "dyck")
    assert data.model_name == "brackets"


def test_an_adapter_names_its_relation_and_its_library(tmp_path):
    data = HubCard(card_of(tmp_path / "run", adapter=True)).data
    assert (data.library_name, data.to_dict()["base_model_relation"]) == ("peft", "adapter")


def test_the_card_says_how_good_the_model_is_by_group_and_where_it_is_weakest(tmp_path):
    text = card_of(tmp_path / "run", evaluation(**GROUPS)).replace("\xa0", " ")
    assert "| length | 1-8 | 60 | 100 % | 94 to 100 % |\n| length | 9-16 | 40 | 75 % |" in text
    assert "Weakest group: length 9-16, 75 %" in text
    assert "answers 90 of 100 unseen test items right" in text


def test_a_model_without_an_evaluation_on_test_items_is_said_to_have_none(tmp_path):
    assert "The model was not evaluated on test items." in card_of(tmp_path / "run")
    assert "was not evaluated" not in card_of(tmp_path / "other", evaluation())


def test_right_answers_with_wrong_steps_are_a_limit(tmp_path):
    text = " ".join(card_of(tmp_path / "run", evaluation(trace_valid=0.4)).split())
    assert "every step is right in 40 % of the replies" in text


def test_a_loss_against_the_base_is_not_hidden(tmp_path):
    rows = evaluation(right=10), evaluation(right=60, role="base", step=None)
    text = card_of(tmp_path / "run", *rows)
    assert "Deploy nothing" in text
    assert "Training made the model worse" in text


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        ("/home/ann/models/base", "base"),
        (r"C:\models\base", "base"),
        ("models/deep/base.gguf", "base.gguf"),
        ("owner/base", "owner/base"),
        ("owner/data:train", "owner/data:train"),
        ("builtin:tiny", "builtin:tiny"),
    ],
)
def test_folders_of_this_machine_are_not_published(reference, name, tmp_path):
    assert public_name(reference) == name
    text = card_of(
        tmp_path / "run", evaluation(items="/home/ann/rows.jsonl", options="--data x"), base=reference
    )
    assert "ann" not in text
    assert ("base_model:" in text) == (reference == "owner/base")


def test_text_of_a_run_is_never_markup(tmp_path):
    text = card_of(tmp_path / "run", evaluation(items="<b>|x|</b> [a](b)\nnew", options="--count 1"))
    (row,) = [line for line in text.splitlines() if "new" in line and line.startswith("|")]
    assert "<b>" not in row
    assert len(re.findall(r"(?<!\\)\|", row)) == 6

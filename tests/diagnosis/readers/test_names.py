from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dycktune.diagnosis.readers.names import naming
from dycktune.diagnosis.readers.words import words

OWN = [
    "loss",
    "grad_norm",
    "learning_rate",
    "eval_loss",
    "eval_a_loss",
    "eval_accuracy",
    "train_runtime",
    "rewards/chosen",
    "entropy",
]


@given(st.sets(st.sampled_from(OWN)))
def test_trainer_s_own_names_stay(names):
    assert naming(Counter(names), {}).names == {name: name for name in names}


@pytest.mark.parametrize(
    ("columns", "chosen"),
    [
        (
            ["train/loss", "eval/loss", "train/train_loss", "train/train_runtime"],
            {"train/loss": "loss", "eval/loss": "eval_loss"},
        ),
        (
            ["train_loss_step", "train_loss_epoch", "val_loss"],
            {"train_loss_step": "loss", "val_loss": "eval_loss"},
        ),
        (["Training Loss", "Validation Loss"], {"Training Loss": "loss", "Validation Loss": "eval_loss"}),
        (
            ["Loss/train", "Loss/val", "Loss/test"],
            {"Loss/train": "loss", "Loss/val": "eval_loss", "Loss/test": "eval_test_loss"},
        ),
        (["loss", "nll_loss", "aux_loss"], {"loss": "loss"}),
        (["lm loss", "loss scale"], {"lm loss": "loss"}),
        (["trainLoss", "devLoss"], {"trainLoss": "loss", "devLoss": "eval_loss"}),
        (["loss", "val_acc", "test_acc"], {"val_acc": "eval_acc", "test_acc": "eval_test_acc"}),
        (["loss", "lr-AdamW/pg1", "gnorm"], {"lr-AdamW/pg1": "learning_rate", "gnorm": "grad_norm"}),
        (
            ["eval/math/loss", "eval/code/loss"],
            {"eval/math/loss": "eval_math_loss", "eval/code/loss": "eval_code_loss"},
        ),
    ],
)
def test_every_logger_s_names_become_trainer_s(columns, chosen):
    names = naming(Counter(columns), {}).names
    assert {name: names[name] for name in chosen} == chosen


@pytest.mark.parametrize(
    "column", ["train_perplexity", "loss_scale", "best_val_loss", "label_smoothing", "closs_ratio"]
)
def test_what_is_no_loss_is_not_taken_for_one(column):
    assert not {"loss", "eval_loss"} & set(naming(Counter([column]), {}).names.values())


@given(st.text(max_size=50))
def test_words_are_total_and_lower_case(name):
    assert all(word == word.lower() for word in words(name))

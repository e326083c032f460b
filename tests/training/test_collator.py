import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from dycktune.data.tokens import IGNORED, LossWeights, TokenizedExample
from dycktune.training.collator import DataCollatorWithWeights, in_parts

EOS = 9
COLUMNS = ("input_ids", "labels", "label_weights")


def row(length: int, *, prompt: int = 2, answer: int = 2) -> dict:
    ids = np.arange(1, length + 1, dtype=np.int32)
    ids[-1] = EOS
    return TokenizedExample(
        input_ids=ids, prompt_length=prompt, answer_start=length - answer, weights=LossWeights(), source="x:1"
    ).features()


def test_rows_keep_their_values_and_padding_carries_no_loss():
    rows = [row(5), row(8), row(6)]
    batch = DataCollatorWithWeights(pad_token_id=EOS)(rows)
    for i, each in enumerate(rows):
        length = len(each["input_ids"])
        for field in ("input_ids", "labels", "label_weights"):
            assert batch[field][i, :length].tolist() == each[field].tolist()
        assert batch["attention_mask"][i].tolist() == [1] * length + [0] * (8 - length)
        assert (batch["labels"][i, length:] == IGNORED).all()
        assert not batch["label_weights"][i, length:].any()
        assert not batch["answer_mask"][i, length:].any()


def test_the_end_of_turn_is_supervised_where_pad_is_the_same_token():
    batch = DataCollatorWithWeights(pad_token_id=EOS)([row(5), row(8)])
    assert batch["labels"][0, 4] == EOS
    assert batch["attention_mask"][0, 4] == 1
    assert batch["label_weights"][0, 4] == 5.0


def test_the_answer_mask_covers_the_answer_also_where_all_weights_are_equal():
    batch = DataCollatorWithWeights()([row(8, answer=3)])
    assert batch["answer_mask"].tolist() == [[False] * 5 + [True] * 3]
    assert batch["answer_mask"].dtype == torch.bool


@given(st.lists(st.integers(5, 60), min_size=1, max_size=9), st.integers(1, 200), st.integers(0, 20))
def test_parts_hold_every_row_once_and_no_more_tokens_than_allowed(lengths, tokens, beyond):
    rows = [row(length) for length in lengths]
    parts = in_parts(DataCollatorWithWeights()(rows), tokens, longest=max(lengths) + beyond)
    assert all(part["labels"].numel() <= tokens or len(part["labels"]) == 1 for part in parts)
    found = []
    for part in parts:
        assert part["attention_mask"].any(dim=0).all()
        for i, length in enumerate(part["attention_mask"].sum(dim=1).tolist()):
            found.append(tuple(tuple(part[field][i, :length].tolist()) for field in COLUMNS))
    expected = [tuple(tuple(each[field].tolist()) for field in COLUMNS) for each in rows]
    assert sorted(found) == sorted(expected)

import numpy as np
import torch

from dycktune.data.tokens import IGNORED, LossWeights, TokenizedExample
from dycktune.training.collator import DataCollatorWithWeights

EOS = 9


def row(length: int, *, prompt: int = 2, answer: int = 2) -> dict:
    ids = np.arange(1, length + 1, dtype=np.int32)
    ids[-1] = EOS
    return TokenizedExample(
        input_ids=ids, prompt_length=prompt, answer_start=length - answer, weights=LossWeights(), source="x:1"
    ).features()


def test_rows_keep_their_values_and_padding_counts_for_nothing():
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


def test_the_end_of_turn_is_learnt_where_pad_is_the_same_token():
    batch = DataCollatorWithWeights(pad_token_id=EOS)([row(5), row(8)])
    assert batch["labels"][0, 4] == EOS
    assert batch["attention_mask"][0, 4] == 1
    assert batch["label_weights"][0, 4] == 5.0


def test_the_answer_mask_covers_the_answer_where_its_weight_is_no_different():
    batch = DataCollatorWithWeights()([row(8, answer=3)])
    assert batch["answer_mask"].tolist() == [[False] * 5 + [True] * 3]
    assert batch["answer_mask"].dtype == torch.bool

import re

from dycktune.training.config import Config, DataSection
from dycktune.training.examples import load_examples


def test_half_of_the_training_problems_count_from_elsewhere_up_to_the_highest_number():
    data = DataSection(count=200, eval_count=20, max_length=12, highest_number=500)
    train, evaluation = load_examples(Config(data=data))
    plain = {e.prefix: e for e in load_examples(Config(data=DataSection(count=200, max_length=12))).train}
    moved = [example for example in train if example != plain[example.prefix]]
    assert 70 < len(moved) < 130
    assert all("from 1" in example.prompt[-1]["content"] for example in evaluation)
    assert not any(example.given for example in (*evaluation, *plain.values()))
    starts = [int(re.search(r"from (\d+)", e.prompt[-1]["content"])[1]) for e in moved]
    assert max(starts) > 300
    for example, start in zip(moved, starts, strict=True):
        told = (example.prompt[-1]["content"] + "\n" + example.completion, plain[example.prefix])
        assert _back(told[0], start - 1) == told[1].prompt[-1]["content"] + "\n" + told[1].completion
        assert max(map(int, re.findall(r"\d+", example.completion))) <= 500
        step, answer = example.given
        assert re.findall(step, example.completion) == [str(start)]
        assert re.fullmatch(answer, f"<|{start}|>")


def _back(text: str, by: int) -> str:
    """`text` with each number `by` lower, but for the floor's, which is 0 in any case."""
    return re.sub(r"\d+", lambda place: str(max(0, int(place[0]) - by)), text)

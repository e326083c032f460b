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
    first_steps = [int(re.search(r"# Step (\d+)", e.completion)[1]) for e in moved]
    assert 0.3 < sum(step == 1 for step in first_steps) / len(moved) < 0.7
    for example, start, step in zip(moved, starts, first_steps, strict=True):
        text, before = (_text(e) for e in (example, plain[example.prefix]))
        assert _back(text, start - 1, step - 1) == before
        assert max(map(int, re.findall(r"\d+", example.completion))) <= 500
        answer, *counted = example.given
        assert re.fullmatch(answer, f"<|{start}|>")
        assert [re.findall(pattern, example.completion) for pattern in counted] == [[str(step)]] * (step > 1)


def _text(example):
    return example.prompt[-1]["content"] + "\n" + example.completion


def _back(text: str, brackets_by: int, steps_by: int) -> str:
    """`text` with its numbers lower, but for the floor's, which is 0 in any case."""

    def lower(place: re.Match[str]) -> str:
        return f"{place[1] or ''}{max(0, int(place[2]) - (steps_by if place[1] else brackets_by))}"

    return re.sub(r"(# Step )?(\d+)", lower, text)

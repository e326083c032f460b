import re
from itertools import pairwise

from dycktune.models.tiny.positions import number_brackets
from dycktune.models.tiny.vocabulary import build_tokenizer
from dycktune.tasks.dyck.trace import ANSWER_MARKER
from dycktune.training.config import Config, DataSection
from dycktune.training.examples import load_examples

TOKENIZER = build_tokenizer()


def test_half_of_the_training_problems_count_from_elsewhere_up_to_the_highest_number():
    data = DataSection(count=200, eval_count=20, max_length=12, highest_number=500, leaps=3)
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
        numbers = _listed(example)
        assert _back(text, numbers, step - 1) == before
        assert numbers[0] == start
        assert max(map(int, re.findall(r"\d+", example.completion))) <= 500
        written = number_brackets(example.completion, TOKENIZER, marker=ANSWER_MARKER)
        said = [re.findall(pattern, written) for pattern in example.given]
        assert all(len(places) == 1 for places in said)
        told = [place for (place,) in said]
        landings = [start, *(after for number, after in pairwise(numbers) if after - number > 1)]
        assert {f"<|{number}|>" for number in landings} <= set(told)
        assert {str(number) for number in landings[1:]} <= set(told)
        assert (str(step) in told) >= (step > 1)
    leaps = [sum(b - a > 1 for a, b in pairwise(_listed(e))) for e in moved]
    assert 1.2 < sum(leaps) / len(leaps) < 1.8
    assert max(leaps) == 3


def test_the_count_goes_on_by_one_where_no_leaps_are_asked_for():
    train = load_examples(Config(data=DataSection(count=60, max_length=12, highest_number=500))).train
    assert all(after - number == 1 for example in train for number, after in pairwise(_listed(example)))
    assert any(_listed(example)[0] > 1 for example in train)


def _listed(example):
    """The numbers of the brackets and of the end mark, as the prompt tells them."""
    sequence = example.prompt[-1]["content"].rpartition("Sequence: ")[2].partition(" from ")[0]
    return [int(re.match(r"\d+", entry)[0]) for entry in sequence.split(" ")[1:]]


def _text(example):
    return example.prompt[-1]["content"] + "\n" + example.completion


def _back(text: str, numbers: list[int], steps_by: int) -> str:
    """`text` with its brackets counted from 1 again, and its steps; the floor is 0 in any case."""
    known = {0: 0} | {number: place for place, number in enumerate(numbers, start=1)}

    def lower(place: re.Match[str]) -> str:
        number = int(place[2])
        by = steps_by if place[1] else number - known.get(number, number - numbers[-1] + len(numbers))
        return f"{place[1] or ''}{number - by}"

    return re.sub(r"(# Step )?(\d+)", lower, text)

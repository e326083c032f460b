from collections import Counter

from dycktune.training.config import Config, DataSection
from dycktune.training.examples import load_examples


def test_longer_problems_are_added_in_their_share_to_training_and_evaluation():
    data = DataSection(count=40, eval_count=20, max_length=8, longer_share=0.25, longer_length=12)
    train, evaluation = load_examples(Config(data=data))
    for examples, regular in ((train, 40), (evaluation, 20)):
        lengths = [len(example.prefix or "") for example in examples]
        assert max(lengths[:regular]) <= 8
        assert set(lengths[regular:]) <= set(range(9, 13))
        assert len(lengths) == regular + regular // 4
    prefixes = Counter(example.prefix for example in (*train, *evaluation))
    assert prefixes.most_common(1)[0][1] == 1

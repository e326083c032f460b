import hashlib
import json
import os
import subprocess
import sys
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dycktune.data.corpus import Corpus, Shard
from dycktune.data.rows import row_of
from dycktune.errors import ConfigError, CorpusError
from dycktune.tasks.dyck.brackets import Alphabet
from dycktune.tasks.dyck.sampling import held
from dycktune.tasks.splits import SPLITS
from small_runs import dyck
from strategies import seeds, splits

lengths = st.tuples(st.integers(2, 24), st.integers(0, 12)).map(lambda pair: (pair[0], pair[0] + pair[1]))


@st.composite
def specs(draw: st.DrawFn, **fixed: object) -> dict:
    """Options of small corpora that exist."""
    low, high = draw(lengths)
    options = {
        "count": draw(st.integers(1, 60)),
        "seed": draw(seeds),
        "split": draw(splits),
        "min_length": low,
        "max_length": max(high, 8),
        "pairs": draw(st.integers(2, 8)),
        "max_depth": draw(st.one_of(st.none(), st.integers(4, 30))),
    }
    return options | fixed


def corpus(*, count: int, seed: int = 0, split: str = "train", **options: object) -> Corpus:
    return Corpus(dyck(**options), count=count, seed=seed, split=split)


def prefixes(spec: dict, **options: object) -> list[str]:
    return [problem.prefix for problem in corpus(**spec).items(**options)]


@given(specs())
@settings(max_examples=30)
def test_a_corpus_has_the_requested_number_of_distinct_problems_within_its_options(spec):
    found = list(corpus(**spec))
    assert len({problem.prefix for problem in found}) == len(found) == spec["count"] == len(corpus(**spec))
    for problem in found:
        assert spec["min_length"] <= problem.length <= spec["max_length"]
        assert problem.depth <= (spec["max_depth"] or spec["max_length"])
        assert Alphabet.of(spec["pairs"]).symbols.issuperset(problem.prefix)


@given(specs(), st.integers(1, 60))
@settings(max_examples=30)
def test_a_smaller_corpus_is_the_beginning_of_a_larger_one(spec, count):
    smaller, larger = sorted([spec["count"], count])
    of_both = prefixes(spec | {"count": larger})
    assert prefixes(spec | {"count": smaller}) == of_both[:smaller]


@given(specs(), st.integers(1, 5))
@settings(max_examples=30)
def test_the_shards_partition_the_corpus(spec, of):
    shards = [prefixes(spec, shard=Shard(index, of)) for index in range(1, of + 1)]
    whole = prefixes(spec)
    assert sorted(prefix for shard in shards for prefix in shard) == sorted(whole)
    for shard in shards:
        assert shard == [prefix for prefix in whole if prefix in set(shard)]


@given(st.data())
@settings(max_examples=20)
def test_train_eval_and_test_share_no_prefix_for_any_seeds_and_counts(data):
    sets = [set(prefixes(data.draw(specs(split=split, pairs=2, min_length=2)))) for split in SPLITS]
    assert not any(first & second for first, second in combinations(sets, 2))


@given(specs(), st.sampled_from(["stack", "compact"]))
@settings(max_examples=20)
def test_a_row_has_the_prompt_the_correct_trace_and_the_prefix(spec, style):
    task = dyck(style=style)
    for problem in corpus(**spec):
        row = row_of(task, problem)
        *prompt, answer = row["messages"]
        assert prompt == task.messages(problem)
        assert answer == {"role": "assistant", "content": task.solution(problem)}
        assert task.verify(problem, answer["content"]).trace_valid
        assert row["problem"] == {"prefix": problem.prefix}


def test_the_rows_are_the_same_for_any_number_of_workers():
    rows, shard = corpus(count=1200, max_length=12, style="stack").rows, Shard(2, 3)
    assert list(rows(workers=2)) == list(rows())
    assert list(rows(workers=2, shard=shard)) == list(rows(shard=shard))


@pytest.mark.parametrize("workers", [1, 2])
def test_batches_are_the_encoded_rows_in_order(workers):
    small = corpus(count=1200, max_length=12)
    batches = list(small.batches(tuple, workers=workers))
    assert {type(batch) for batch in batches} == {tuple}
    assert [row for batch in batches for row in batch] == list(small.rows())


def test_an_iteration_can_be_closed_early_with_workers():
    rows = corpus(count=5000).rows(workers=2)
    assert next(rows)["problem"]["prefix"]
    rows.close()


PROGRAM = """
import hashlib, json
from dycktune.data.corpus import Corpus
from dycktune.tasks.registry import make_task
task = make_task("dyck", {"max_length": 9, "pairs": 8})
text = json.dumps(list(Corpus(task, count=200, seed=5).rows()))
print(hashlib.sha256(text.encode()).hexdigest())
"""


def test_the_rows_do_not_depend_on_python_s_hash_seed():
    rows = list(corpus(count=200, max_length=9, pairs=8, seed=5).rows())
    here = hashlib.sha256(json.dumps(rows).encode()).hexdigest()
    environment = os.environ | {"PYTHONHASHSEED": "123"}
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, check=True)
    assert done.stdout.decode().strip() == here


def test_a_corpus_can_have_all_prefixes_of_a_split_and_not_one_more():
    options: dict = {"max_length": 6, "pairs": 2, "split": "train"}
    space = corpus(count=1, **options)._stream.space
    exist = sum(held(space, length, "train") for length in space.lengths)
    assert len(set(prefixes({"count": exist, **options}))) == exist
    with pytest.raises(CorpusError, match=f"only {exist} .* in the train split"):
        corpus(count=exist + 1, **options)


def test_more_problems_than_exist_are_refused_before_any_is_drawn():
    with pytest.raises(CorpusError, match="only 16 of lengths 2 to 2 over 4 pairs exist"):
        corpus(count=17, min_length=2, max_length=2)


def test_a_large_space_is_counted_without_drawing():
    assert len(corpus(count=10**9, max_length=400)) == 10**9


def test_a_length_that_is_used_up_is_in_the_tally_and_others_take_its_place():
    small = corpus(count=3000, max_length=9, pairs=3)
    tally, space = small.tally(), small._stream.space
    assert len(list(small.items(tally=tally))) == 3000
    exist = {length: held(space, length, "train") for length in space.lengths}
    assert tally.used_up() == {length: n for length, n in exist.items() if tally.of_length[length] == n}
    assert set(tally.used_up()) == {2, 3, 4}


def test_lengths_without_any_prefix_count_as_used_up():
    small = corpus(count=5, min_length=4, max_length=9, max_depth=1)
    tally = small.tally()
    list(small.items(tally=tally))
    assert {length for length, held_ in tally.used_up().items() if held_ == 0} == {4, 6, 8}


def test_the_tally_counts_the_shard_s_problems_by_length_and_depth():
    small = corpus(count=300, max_length=12)
    tally = small.tally()
    found = list(small.items(shard=Shard(1, 2), tally=tally))
    assert tally.drawn == 300
    assert tally.kept == len(found)
    assert sorted(tally.lengths.elements()) == sorted(problem.length for problem in found)
    assert sorted(tally.depths.elements()) == sorted(problem.depth for problem in found)


@pytest.mark.parametrize(
    ("options", "error", "why"),
    [
        ({"count": 0}, ConfigError, "count is 0"),
        ({"seed": -1, "split": "dev"}, ConfigError, "seed is -1.*unknown split 'dev'"),
        ({"min_length": 6, "max_length": 6, "max_depth": 1}, CorpusError, "no prefix of 6 brackets"),
    ],
)
def test_an_impossible_corpus_is_refused(options, error, why):
    with pytest.raises(error, match=why):
        corpus(**({"count": 1} | options))


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "a/b", "", "1/2/3", "-1/2"])
def test_a_text_that_is_no_shard_is_refused(text):
    with pytest.raises(ConfigError, match="I/N"):
        Shard.parse(text)


def test_a_shard_is_parsed_and_printed_alike():
    assert Shard.parse("2/8") == Shard(2, 8)
    assert str(Shard(2, 8)) == "2/8"


def test_zero_workers_are_refused():
    with pytest.raises(ConfigError, match="workers is 0"):
        list(corpus(count=1).rows(workers=0))

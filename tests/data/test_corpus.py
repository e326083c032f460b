import hashlib
import json
import os
import subprocess
import sys
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dycktune.data.corpus import Corpus, CorpusSpec, Shard, Tally, problem_row
from dycktune.errors import ConfigError, CorpusError
from dycktune.tasks.dyck.prompt import messages
from dycktune.tasks.dyck.sampling import SPLITS, held
from dycktune.tasks.dyck.trace import STYLES, render
from dycktune.tasks.dyck.verify import verify
from strategies import seeds, splits, styles

lengths = st.tuples(st.integers(2, 24), st.integers(0, 12)).map(lambda pair: (pair[0], pair[0] + pair[1]))


@st.composite
def specs(draw: st.DrawFn, **fixed: object) -> CorpusSpec:
    """Small corpora that surely exist."""
    low, high = draw(lengths)
    options: dict = {
        "count": draw(st.integers(1, 60)),
        "seed": draw(seeds),
        "split": draw(splits),
        "min_length": low,
        "max_length": max(high, 8),
        "pairs": draw(st.integers(2, 8)),
        "max_depth": draw(st.one_of(st.none(), st.integers(4, 30))),
    }
    return CorpusSpec(**(options | fixed))


def prefixes(spec: CorpusSpec, **options: object) -> list[str]:
    return [problem.prefix for problem in Corpus(spec).problems(**options)]


@given(specs())
@settings(max_examples=30)
def test_a_corpus_holds_as_many_distinct_problems_as_asked_for_all_within_the_spec(spec):
    found = list(Corpus(spec))
    assert len({problem.prefix for problem in found}) == len(found) == spec.count == len(Corpus(spec))
    for problem in found:
        assert spec.min_length <= problem.length <= spec.max_length
        assert problem.depth <= (spec.max_depth or spec.max_length)
        assert spec.space.alphabet.symbols.issuperset(problem.prefix)


@given(specs(), st.integers(1, 60))
@settings(max_examples=30)
def test_a_smaller_corpus_is_the_beginning_of_a_larger_one(spec, count):
    fields = {name: getattr(spec, name) for name in spec.__dataclass_fields__}
    smaller, larger = sorted([spec.count, count])
    of_both = prefixes(CorpusSpec(**(fields | {"count": larger})))
    assert prefixes(CorpusSpec(**(fields | {"count": smaller}))) == of_both[:smaller]


@given(specs(), st.integers(1, 5))
@settings(max_examples=30)
def test_the_shards_together_are_the_whole_and_share_nothing(spec, of):
    shards = [prefixes(spec, shard=Shard(index, of)) for index in range(1, of + 1)]
    whole = prefixes(spec)
    assert sorted(prefix for shard in shards for prefix in shard) == sorted(whole)
    for shard in shards:
        assert shard == [prefix for prefix in whole if prefix in set(shard)]


@given(st.data())
@settings(max_examples=20)
def test_train_eval_and_test_share_no_prefix_whatever_seeds_and_counts(data):
    sets = [set(prefixes(data.draw(specs(split=split, pairs=2, min_length=2)))) for split in SPLITS]
    assert not any(first & second for first, second in combinations(sets, 2))


@given(specs(), styles)
@settings(max_examples=20)
def test_a_row_is_the_prompt_the_correct_trace_and_the_prefix(spec, style):
    for problem in Corpus(spec):
        row = problem_row(problem, style)
        *asked, answer = row["messages"]
        assert asked == messages(problem, style)
        assert answer == {"role": "assistant", "content": render(problem, style)}
        assert verify(row["problem"]["prefix"], answer["content"]).trace_valid


def test_the_rows_are_the_same_for_any_number_of_workers():
    spec = CorpusSpec(count=1200, max_length=12, style="stack")
    corpus, shard = Corpus(spec), Shard(2, 3)
    assert list(corpus.rows(workers=2)) == list(corpus.rows())
    assert list(corpus.rows(workers=2, shard=shard)) == list(corpus.rows(shard=shard))


@pytest.mark.parametrize("workers", [1, 2])
def test_batches_hold_the_rows_as_they_are_encoded_where_they_are_made(workers):
    corpus = Corpus(CorpusSpec(count=1200, max_length=12))
    batches = list(corpus.batches(tuple, workers=workers))
    assert {type(batch) for batch in batches} == {tuple}
    assert [row for batch in batches for row in batch] == list(corpus.rows())


def test_an_iteration_that_is_given_up_leaves_no_worker_waiting():
    rows = Corpus(CorpusSpec(count=5000)).rows(workers=2)
    assert next(rows)["problem"]["prefix"]
    rows.close()


PROGRAM = """
import hashlib, json
from dycktune.data.corpus import Corpus, CorpusSpec
text = json.dumps(list(Corpus(CorpusSpec(count=200, max_length=9, pairs=8, seed=5)).rows()))
print(hashlib.sha256(text.encode()).hexdigest())
"""


def test_the_rows_do_not_depend_on_python_s_hash_seed():
    rows = list(Corpus(CorpusSpec(count=200, max_length=9, pairs=8, seed=5)).rows())
    here = hashlib.sha256(json.dumps(rows).encode()).hexdigest()
    environment = os.environ | {"PYTHONHASHSEED": "123"}
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, check=True)
    assert done.stdout.decode().strip() == here


def test_all_prefixes_that_a_split_holds_can_be_asked_for_and_not_one_more():
    options: dict = {"max_length": 6, "pairs": 2, "split": "train"}
    space = CorpusSpec(count=1, **options).space
    exist = sum(held(space, length, "train") for length in space.lengths)
    assert len(set(prefixes(CorpusSpec(count=exist, **options)))) == exist
    with pytest.raises(CorpusError, match=f"only {exist} .* in the train split"):
        Corpus(CorpusSpec(count=exist + 1, **options))


def test_more_problems_than_exist_at_all_are_refused_before_any_is_made():
    with pytest.raises(CorpusError, match="only 16 of lengths 2 to 2 over 4 pairs exist"):
        Corpus(CorpusSpec(count=17, min_length=2, max_length=2))


def test_a_large_space_is_counted_not_tried():
    assert len(Corpus(CorpusSpec(count=10**9, max_length=400))) == 10**9


def test_a_length_that_is_used_up_spills_over_and_the_tally_says_so():
    spec, tally = CorpusSpec(count=3000, max_length=9, pairs=3), Tally()
    found = prefixes(spec, tally=tally)
    there_are = {length: held(spec.space, length, "train") for length in spec.space.lengths}
    used_up = {length: n for length, n in there_are.items() if tally.drawn[length] == n}
    assert len(found) == 3000
    assert tally.spill_over(spec) == used_up
    assert set(used_up) == {2, 3, 4}


def test_lengths_without_any_prefix_are_said_to_be_used_up():
    spec, tally = CorpusSpec(count=5, min_length=4, max_length=9, max_depth=1), Tally()
    prefixes(spec, tally=tally)
    assert {length for length, held_ in tally.spill_over(spec).items() if held_ == 0} == {4, 6, 8}


def test_the_tally_counts_the_shard_s_problems_by_length_and_depth():
    spec, tally = CorpusSpec(count=300, max_length=12), Tally()
    found = list(Corpus(spec).problems(shard=Shard(1, 2), tally=tally))
    assert tally.drawn.total() == 300
    assert sorted(tally.lengths.elements()) == sorted(problem.length for problem in found)
    assert sorted(tally.depths.elements()) == sorted(problem.depth for problem in found)


@pytest.mark.parametrize(
    ("options", "error", "why"),
    [
        ({"count": 0}, ConfigError, "count is 0"),
        ({"seed": -1, "split": "dev"}, ConfigError, "seed is -1.*unknown split 'dev'"),
        ({"style": "prose"}, ConfigError, "stack, compact"),
        ({"pairs": 9}, CorpusError, "1 to 8"),
        ({"min_length": 5, "max_length": 4}, CorpusError, "5 to 4"),
    ],
)
def test_an_impossible_spec_is_refused(options, error, why):
    with pytest.raises(error, match=why):
        CorpusSpec(**({"count": 1} | options))


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "a/b", "", "1/2/3", "-1/2"])
def test_a_shard_that_is_none_is_refused(text):
    with pytest.raises(ConfigError, match="I/N"):
        Shard.parse(text)


def test_a_shard_reads_as_it_is_written():
    assert Shard.parse("2/8") == Shard(2, 8)
    assert str(Shard(2, 8)) == "2/8"


def test_no_workers_at_all_are_refused():
    with pytest.raises(ConfigError, match="workers is 0"):
        list(Corpus(CorpusSpec(count=1)).rows(workers=0))


def test_the_default_style_is_one_of_the_styles():
    assert CorpusSpec(count=1).style in STYLES

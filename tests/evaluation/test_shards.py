import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from dycktune.data.corpus import Shard
from dycktune.errors import DataError
from dycktune.evaluation.evaluate import Evaluation, evaluate
from dycktune.evaluation.shards import join_shards, part_of, write_shard
from dycktune.models.loading import LoadedModel
from dycktune.tasks.dyck.problem import Problem
from small_models import make_model, make_tokenizer
from small_runs import PREFIXES, STACK

PROBLEMS = [*map(Problem, PREFIXES[:7]), Problem(PREFIXES[0])]
"""One question stands twice, as in a file of a user's own."""


@pytest.fixture(scope="module")
def whole() -> Evaluation:
    tokenizer = make_tokenizer()
    model = make_model(tokenizer).eval()
    loaded = LoadedModel(model=model, tokenizer=tokenizer, card=None, reference="random")
    found = evaluate(loaded, STACK, PROBLEMS)
    # A random model answers nothing right, and all scores would be 0 in any order.
    right = STACK.solution(PROBLEMS[0])
    first = replace(found.completions[0], text=right, verdict=STACK.verify(PROBLEMS[0], right))
    return replace(found, completions=[first, *found.completions[1:]])


Write = Callable[..., Path]


@pytest.fixture
def write(whole, tmp_path) -> Write:
    def write(
        shard: str, *, name: str = "", model: str = "random", options: str | None = "--count 8"
    ) -> Path:
        part = Shard.parse(shard)
        own = replace(whole, completions=part_of(whole.completions, part))
        path = tmp_path / "parts" / (name or f"{part.index}.json")
        write_shard(path, own, part, model=model, items=len(PROBLEMS), options=options)
        return path

    return write


@pytest.mark.parametrize("of", [1, 3, 8, 11])
def test_the_joined_shards_are_the_evaluation_of_one_job(of, whole, write, tmp_path):
    """Of eleven shards of eight items, three are empty."""
    for index in range(1, of + 1):
        write(f"{index}/{of}")
    joined = join_shards([tmp_path / "parts"], STACK, PROBLEMS, model="random")
    assert joined.to_json() == whole.to_json()
    assert 0 < joined.to_json()["exact_match"] < 1
    assert [c.text for c in joined.completions] == [c.text for c in whole.completions]
    assert [c.verdict for c in joined.completions] == [c.verdict for c in whole.completions]


def test_shards_are_named_in_any_order_as_files(whole, write):
    files = [write("2/2"), write("1/2")]
    assert join_shards(files, STACK, PROBLEMS, model=None).to_json() == whole.to_json()


def test_a_verdict_comes_from_the_verifier_and_never_from_the_file(write):
    path = write("1/1")
    content = json.loads(path.read_text(encoding="utf-8"))
    content["replies"][0] |= {"text": "FINAL ANSWER: )", "correct": True}
    path.write_text(json.dumps(content), encoding="utf-8")
    assert join_shards([path], STACK, PROBLEMS, model=None).exact_match.value == 0


def test_shards_that_are_no_whole_evaluation_are_refused(write, tmp_path):
    parts = tmp_path / "parts"

    def refused(*paths: Path, items: list[Problem] = PROBLEMS, model: str = "random") -> str:
        with pytest.raises(DataError) as error:
            join_shards(paths, STACK, items, model=model)
        return str(error.value)

    first, third = write("1/4"), write("3/4")
    assert "2 of 4 shards are missing: 2/4, 4/4" in refused(parts)
    assert "parts of 2 and of 4" in refused(first, third, write("2/2", name="other.json"))
    assert "are both shard 1/4" in refused(first, write("1/4", name="again.json"))
    alone = write("1/1", name="whole.json")
    assert "several models: other, random" in refused(alone, model="other")
    assert "holds replies to other items than these 7; join with --count 8" in refused(
        alone, items=PROBLEMS[:7]
    )
    assert "holds replies to other items" in refused(alone, items=PROBLEMS[::-1])
    assert "holds no shard" in refused(tmp_path)
    missing = refused(tmp_path / "none.json")
    assert missing.endswith(
        "cannot be read: No such file or directory; name the files of --out, or a folder of them"
    )


def test_a_file_that_is_no_shard_is_refused(write, tmp_path):
    content = json.loads(write("1/1").read_text(encoding="utf-8"))
    reply = content["replies"][0]
    others = [
        content | {"shard": 1},
        content | {"shard": "2/1"},
        content | {"items": "8"},
        content | {"replies": None},
        content | {"replies": [reply | {"text": None}]},
        content | {"replies": [{name: reply[name] for name in reply if name != "item"}]},
        content | {"replies": [reply | {"finished": "yes"}]},
    ]
    path = tmp_path / "odd.json"
    for text in ("[]", "{}", "{", "\xff", *map(json.dumps, others)):
        path.write_text(text, encoding="latin-1")
        with pytest.raises(DataError, match=r"odd\.json is no shard of an evaluation"):
            join_shards([path], STACK, PROBLEMS, model=None)

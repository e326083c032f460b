"""Speculative decoding gives the model's own text: on thousands of problems, and at every kind of error."""

import pytest
import torch
from transformers import AutoModelForCausalLM

from dycktune.data.corpus import Corpus
from dycktune.inference.completion import PromptBuilder, complete
from dycktune.inference.reference import generate
from dycktune.inference.speculative import decode
from dycktune.models.chat import reply_text
from dycktune.models.loading import BUILTIN, LoadedModel, load
from dycktune.runs import RunFolder
from dycktune.tasks.dyck.problem import Problem
from dycktune.training.recipe import build
from dycktune.training.run import train
from small_runs import dyck

PROBLEM = Problem("([]{<")
PLACES = {
    "thought": ("# Thought 3: ] leaves 1) over 0", "# Thought 3: ] leaves 2] over 1"),
    "link": ("4} over 1 at", "4} over 2 at"),
    "closing": ("at 7}", "at 7]"),
    "step": ("# Step 2: add '<|7|>}'", "# Step 2: add '<|7|>]'"),
    "answer": ("<|7|> }<|8|>", "<|7|> ]<|8|>"),
    "end": (")<|9|><|im_end|>", ")<|9|> )<|10|><|im_end|>"),
}
"""By place: the text of a right reply, and the text of the planted model in its place."""


@pytest.fixture
def builtin() -> LoadedModel:
    return load(BUILTIN, device="cpu")


def plant(loaded: LoadedModel, prompt: list[int], reply: list[int]) -> None:
    """Make the model write `reply` to `prompt`: the token of each position gets by far the highest logit."""
    following = torch.tensor([*prompt, *reply, *[0] * 200])[1:]
    forward = loaded.model.forward

    def planted(*args, position_ids, **inputs):
        output = forward(*args, position_ids=position_ids, **inputs)
        next_BQ = following[position_ids[:, -output.logits.shape[1] :]]
        bias = torch.zeros_like(output.logits).scatter_(-1, next_BQ[..., None], 1e3)
        output.logits = output.logits + bias
        return output

    loaded.model.forward = planted


@pytest.mark.parametrize("place", PLACES)
def test_an_error_of_the_model_at_any_kind_of_place_stays_in_its_text(builtin, place):
    prompt = PromptBuilder(builtin, dyck())(PROBLEM)
    right = builtin.tokenizer.decode(prompt.drafts[0].solution)
    assert right.count(PLACES[place][0]) == 1
    wrong = builtin.tokenizer(right.replace(*PLACES[place]), add_special_tokens=False)["input_ids"]
    plant(builtin, prompt.ids, wrong)
    (completion,) = complete(builtin, [PROBLEM])
    assert completion.reply.ids == wrong[:-1] == generate(builtin, [prompt])[0].ids
    assert completion.text == reply_text(builtin.tokenizer, wrong)
    assert not completion.verdict.trace_valid
    assert completion.verdict.correct == (place not in ("answer", "end"))


@pytest.fixture(scope="module")
def stages(tmp_path_factory) -> dict[str, LoadedModel]:
    """A model early in training, one that has learned short problems, and one with random weights."""
    recipe = {
        "model": {"base": BUILTIN, "dtype": "float32"},
        "task": {"max_length": 5},
        "data": {"count": 2000, "eval_count": 8},
        "lora": {"r": 64, "alpha": 64, "dropout": 0.0},
        "optim": {
            "optimizer": "muon",
            "learning_rate": 1e-2,
            "batch_size": 8,
            "accumulation": 1,
            "max_steps": 240,
            "packed": False,
            "checkpointing": False,
        },
        "eval": {"steps": 60, "exact_match": 0},
        "save": {"steps": 60},
    }
    run = RunFolder(train(build(recipe, {}), tmp_path_factory.mktemp("runs") / "short"))
    early, *_, good = (load(str(checkpoint.path), device="cpu") for checkpoint in run.checkpoints())
    torch.manual_seed(0)
    config = type(early.model.config)(**{**early.model.config.to_dict(), "initializer_range": 0.2})
    random = AutoModelForCausalLM.from_config(config).eval()
    return {
        "early": early,
        "good": good,
        "random": LoadedModel(model=random, tokenizer=good.tokenizer, card=good.card, reference="random"),
    }


@pytest.mark.slow
@pytest.mark.parametrize(("stage", "count"), [("good", 1500), ("early", 500), ("random", 100)])
def test_on_thousands_of_problems_every_token_is_that_of_reference_decoding(stages, stage, count):
    loaded = stages[stage]
    problems = Corpus(dyck(max_length=7), count=count, split="test")
    prompts = list(map(PromptBuilder(loaded, dyck()), problems))
    drafted, plain = decode(loaded, prompts), generate(loaded, prompts)
    differing = [i for i in range(count) if drafted[i].ids != plain[i].ids]
    assert all(drafted[i].alone for i in differing)
    assert all(drafted[i].ids == generate(loaded, [prompts[i]])[0].ids for i in differing)


@pytest.mark.slow
def test_the_good_model_is_better_than_the_early_one_and_the_random_one_scores_zero(stages):
    problems = list(Corpus(dyck(max_length=5), count=100, split="test"))
    right = {name: sum(c.verdict.correct for c in complete(stages[name], problems)) for name in stages}
    assert right["good"] > 60 > right["early"] >= right["random"] == 0

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dycktune.errors import ConfigError
from dycktune.schema import described_fields
from dycktune.tasks import registry
from dycktune.tasks.base import Item, Message, Task, Verdict
from dycktune.tasks.dyck.task import Dyck, DyckOptions
from dycktune.training.config import Config, TaskSection
from dycktune.training.recipe import build, load, task_of, to_toml


@dataclass(frozen=True, kw_only=True)
class EchoOptions:
    """Options of a task in another package."""

    words: tuple[str, ...] = ("hello",)
    """Words to repeat."""
    loud: bool = False
    """Whether the answer is in capitals."""
    shares: Mapping[str, float] = field(default_factory=dict)
    """Share of each word."""


class Echo(Task[Item]):
    """Repeat a word."""

    name: ClassVar[str] = "echo"
    item_type: ClassVar[type[Any]] = Item
    Options: ClassVar[type] = EchoOptions

    def messages(self, item: Item) -> list[Message]:
        return [{"role": "user", "content": item.key}]

    def solution(self, item: Item) -> str:
        return f"{self.marker}{item.key}"

    def verify(self, item: Item, reply: str) -> Verdict:
        return Verdict(correct=reply == self.solution(item), answer=reply, format_ok=True)


@pytest.fixture
def echo(monkeypatch) -> None:
    monkeypatch.setitem(registry._REGISTERED, "echo", Echo)


def fault(content, overrides=None) -> str:
    with pytest.raises(ConfigError) as caught:
        build(content, overrides or {})
    return str(caught.value).removeprefix("the recipe: ")


configs = st.builds(
    lambda weight, rate, keep, marker, modules, length, style: replace(
        Config(),
        task=TaskSection(name="dyck", options={"max_length": length, "style": style}),
        loss=replace(Config().loss, answer_weight=weight, marker=marker),
        optim=replace(Config().optim, learning_rate=rate),
        save=replace(Config().save, keep=keep),
        lora=replace(Config().lora, target_modules=modules),
    ),
    weight=st.floats(0, 1e6),
    rate=st.floats(1e-12, 1),
    keep=st.none() | st.integers(1, 99),
    marker=st.text(st.characters(codec="utf-8"), min_size=1, max_size=8),
    modules=st.text("abc_", min_size=1) | st.lists(st.text("abc_"), max_size=3).map(tuple),
    length=st.integers(2, 400),
    style=st.sampled_from(["compact", "stack"]),
)


@given(configs)
def test_a_written_recipe_reads_back_the_same(config):
    assert build(tomllib.loads(to_toml(config)), {}) == config


def test_options_of_any_task_read_back_the_same(echo):
    options = {"words": ("a", '"b"'), "loud": True, "shares": {"a b": 0.5}}
    config = build({"task": {"name": "echo", **options}}, {})
    assert config.task == TaskSection(name="echo", options=options)
    assert '[task]\nname = "echo"\nwords = ["a", "\\"b\\""]\nloud = true\n' in to_toml(config)
    assert build(tomllib.loads(to_toml(config)), {}) == config


def test_an_empty_recipe_has_the_defaults_that_cured_the_loss_spike():
    config = build({}, {})
    assert config == Config()
    assert (config.optim.learning_rate, config.optim.schedule, config.optim.warmup) == (8e-6, "cosine", 0.2)
    assert config.optim.max_grad_norm == 0.5
    assert (config.loss.answer_weight, config.loss.reasoning_weight) == (5.0, 1.0)
    assert config.save.load_best is False


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"loss": {"answer_wieght": 5}}, "loss.answer_wieght is unknown; did you mean loss.answer_weight?"),
        ({"loss": {"zzz": 5}}, "loss.zzz is unknown; [loss] has answer_weight, reasoning_weight, marker"),
        ({"optimizer": {"epochs": 1}}, "optimizer.epochs is unknown; did you mean optim.epochs?"),
        ({"seed": 1}, "seed is unknown; did you mean data.seed or optim.seed?"),
        ({"loss": 3}, "loss = 3, but it must be a section: [loss] and its fields below it"),
        ({"task": 3}, "task = 3, but it must be a section: [task] and its fields below it"),
        ({"loss": {"answer_weight": -1}}, "loss.answer_weight = -1, but it must be a number from 0 on"),
        ({"optim": {"warmup": 1.5}}, "optim.warmup = 1.5, but it must be a number from 0 to 1"),
        ({"loss": {"marker": ""}}, "loss.marker = '', but it must be a text that is not empty"),
        ({"model": {"dtype": "int8"}}, "model.dtype = 'int8', but it must be one of bfloat16, float32"),
        ({"task": {"pairs": 9}}, "task.pairs = 9, but it must be a whole number from 1 to 8"),
        ({"task": {"max_lenght": 9}}, "task.max_lenght is unknown; did you mean task.max_length?"),
        ({"task": {"style": "prose"}}, "task.style = 'prose', but it must be one of compact, stack"),
        ({"task": {"min_length": 9, "max_length": 3}}, "task: min_length = 9 is over max_length = 3"),
        ({"task": {"name": "dick"}}, "task.name: unknown task 'dick'; did you mean 'dyck'?"),
        ({"task": {"name": 3, "pairs": 2}}, "task.name = 3, but it must be a text"),
    ],
)
def test_a_fault_names_the_field_the_value_and_the_remedy(content, message):
    assert fault(content) == message


@pytest.mark.parametrize(
    ("former", "now"),
    [
        ("data.min_length", "task.min_length"),
        ("data.max_length", "task.max_length"),
        ("data.max_depth", "task.max_depth"),
        ("data.pairs", "task.pairs"),
        ("data.style", "task.style"),
        ("data.highest_number", "task.highest_number"),
        ("data.leaps", "task.jumps"),
        ("guard.attempts", "guard.max_rollbacks"),
    ],
)
def test_a_former_field_is_refused_with_its_new_name(former, now):
    section, _, name = former.partition(".")
    assert fault({section: {name: 3}}) == f"{former} is unknown; did you mean {now}?"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"data": {"train": "a.jsonl"}}, "data.train and data.eval need each other"),
        ({"loss": {"answer_weight": 0, "reasoning_weight": 0}}, "the model would learn nothing"),
        ({"optim": {"optimizer": "muon"}, "lora": {"train_embeddings": True}}, "or use adamw"),
        ({"save": {"load_best": True, "steps": 7}}, "a multiple of eval.steps = 25, not 7"),
        ({"save": {"load_best": True}, "train": {"method": "grpo"}}, "train.method = 'grpo' computes none"),
        ({"select": {"by": "eval_loss"}, "train": {"method": "grpo"}}, "choose select.by = 'exact_match'"),
    ],
)
def test_fields_that_contradict_each_other_are_refused(content, message):
    assert message in fault(content)


def test_a_url_with_a_key_is_refused_by_its_field_before_a_run_folder_holds_it():
    url = "s3://key:hidden@bucket/rows.jsonl"
    rows = {"data": {"train": url, "eval": "rows.jsonl"}, "train": {"start_from": url}}
    message = fault(rows, {"model.base": "https://example.org/model?signature=hidden"})
    for name in ("data.train", "train.start_from", "model.base"):
        assert f"{name}: a URL of s3:// that holds" in message or f"{name}: https addresses" in message
    assert "hidden" not in message
    assert "data.eval" not in message


def test_faults_of_sections_task_and_overrides_are_one_line(echo):
    message = fault(
        {
            "loss": {"zzz": 1, "answer_weight": "x"},
            "optim": {"warmup": 2},
            "task": {"name": "echo", "lud": 1},
        },
        {"lora.r": "0", "task.loud": "3"},
    )
    names = ["loss.zzz", "loss.answer_weight", "optim.warmup", "lora.r", "task.lud", "task.loud"]
    assert [name for name in names if f"{name} " not in message] == []
    assert "\n" not in message


def test_an_unknown_task_is_named_beside_the_other_faults_and_its_options_are_not():
    message = fault({"task": {"name": "dick", "pears": 3}, "loss": {"zzz": 1}})
    assert "unknown task 'dick'" in message
    assert "loss.zzz is unknown" in message
    assert "pears" not in message


def test_a_recipe_takes_the_options_of_its_own_task_only(echo):
    assert "task.max_length is unknown" in fault({"task": {"name": "echo", "max_length": 3}})
    assert "task.words is unknown" in fault({"task": {"words": ["a"]}})
    assert "data.max_length is unknown" in fault({"task": {"name": "echo"}, "data": {"max_length": 3}})


def test_overrides_win_and_may_hold_hyphens_lists_and_plain_texts():
    overrides = {
        "loss.answer-weight": "3",
        "save.keep": "4",
        "model.trust-remote-code": "true",
        "model.base": "builtin:tiny",
        "loss.marker": "42",
        "lora.target-modules": '["q_proj", "v_proj"]',
        "task.max-length": "7",
    }
    config = build({"loss": {"answer_weight": 7.0}, "task": {"max_length": 3, "pairs": 2}}, overrides)
    assert (config.loss.answer_weight, config.save.keep, config.loss.marker) == (3.0, 4, "42")
    assert (config.model.trust_remote_code, config.model.base) == (True, "builtin:tiny")
    assert config.lora.target_modules == ("q_proj", "v_proj")
    assert config.task.options == {"max_length": 7, "pairs": 2}


def test_an_override_can_name_the_task_and_its_options(echo):
    config = build({}, {"task.name": "echo", "task.loud": "true", "task.words": '["a"]'})
    assert config.task == TaskSection(name="echo", options={"loud": True, "words": ("a",)})


def test_building_leaves_the_content_as_it_was():
    content = {"loss": {"answer_weight": 7.0}}
    build(content, {"loss.answer-weight": "3", "optim.epochs": "1"})
    assert content == {"loss": {"answer_weight": 7.0}}


def test_the_task_of_a_recipe_has_its_options_and_marker(echo):
    assert task_of(build({"task": {"pairs": 2}}, {})).options == DyckOptions(pairs=2)
    assert isinstance(task_of(Config()), Dyck)
    task = task_of(build({"task": {"name": "echo", "loud": True}, "loss": {"marker": "So: "}}, {}))
    assert (task.options, task.marker) == (EchoOptions(loud=True), "So: ")


def test_a_file_that_is_missing_or_no_toml_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.toml cannot be read"):
        load(tmp_path / "none.toml")
    broken = tmp_path / "broken.toml"
    for content in (b"[loss\n", b"[loss]\nmarker = '\xff'\n"):
        broken.write_bytes(content)
        with pytest.raises(ConfigError, match=r"broken\.toml is not TOML"):
            load(broken)


def test_every_field_has_a_docstring():
    kinds = [type(getattr(Config(), name)) for name in vars(Config())]
    bare = [
        entry.name
        for kind in [*kinds, DyckOptions]
        for entry in described_fields(kind)
        if not entry.description
    ]
    assert bare == []

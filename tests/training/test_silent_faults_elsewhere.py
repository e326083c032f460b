"""The checks in a script of the user's own, with TRL's SFTTrainer."""

import pytest
from datasets import Dataset

from dycktune.errors import SilentFaultError
from dycktune.training import preflight
from small_models import make_model, make_tokenizer

trl = pytest.importorskip("trl")

CHATS = [
    {
        "prompt": [{"role": "user", "content": f"What is {n} + 1?"}],
        "completion": [{"role": "assistant", "content": f"# Step 1: add 1\nFINAL ANSWER: {n + 1}"}],
    }
    for n in range(12)
]


def sft(folder, rows=CHATS, collate=None, **changes):
    """A guarded SFTTrainer of two steps."""
    tokenizer = make_tokenizer()
    defaults = {
        "output_dir": str(folder),
        "max_steps": 2,
        "per_device_train_batch_size": 4,
        "report_to": "none",
        "use_cpu": True,
        "bf16": False,
        "save_strategy": "no",
        "disable_tqdm": True,
    }
    trainer = trl.SFTTrainer(
        model=make_model(tokenizer),
        args=trl.SFTConfig(**(defaults | changes)),
        train_dataset=Dataset.from_list(rows),
        eval_dataset=Dataset.from_list(rows[:4]),
        processing_class=tokenizer,
    )
    if collate is not None:
        right = trainer.data_collator
        trainer.data_collator = lambda batch: collate(right(batch))
    return trainer


def watched(trainer, **options):
    preflight.attach(trainer, **options)
    trainer.train()
    return trainer


def whole(chats):
    return [{"messages": chat["prompt"] + chat["completion"]} for chat in chats]


@pytest.mark.parametrize(
    ("rows", "changes"),
    [
        (CHATS, {}),
        (CHATS, {"eval_strategy": "steps", "eval_steps": 1}),
        (CHATS, {"packing": True, "max_length": 512}),
        (CHATS, {"gradient_accumulation_steps": 2}),
        (CHATS, {"bf16": True}),
        (whole(CHATS), {"assistant_only_loss": True}),
        ([{"text": f"{n} plain text of no chat. " * 8} for n in range(12)], {}),
    ],
    ids=["plain", "evaluated", "packed", "accumulated", "bf16", "assistant-only", "no-chat"],
)
def test_a_sound_training_is_not_stopped(tmp_path, rows, changes):
    assert watched(sft(tmp_path, rows, **changes)).state.global_step == 2


def shift(batch):
    batch["labels"] = batch["labels"].roll(-1, dims=1)
    return batch


def mask_ends(batch):
    batch["labels"][batch["input_ids"] == make_tokenizer().eos_token_id] = -100
    return batch


def mask_all(batch):
    batch["labels"][:] = -100
    return batch


@pytest.mark.parametrize(
    ("name", "rows", "collate", "changes"),
    [
        ("labels_shifted", CHATS, shift, {}),
        ("end_of_turn_not_learned", CHATS, mask_ends, {}),
        ("nothing_to_learn", CHATS, mask_all, {}),
        ("prompt_not_masked", whole(CHATS), None, {}),
        ("completion_cut_off", CHATS, None, {"max_length": 112}),
        ("learning_rate_frozen", CHATS, None, {"learning_rate": 0.0}),
    ],
)
def test_a_fault_is_found_by_name_before_the_second_step(tmp_path, name, rows, collate, changes):
    trainer = sft(tmp_path, rows, collate, **changes)
    with pytest.raises(SilentFaultError, match=f"^{name}: "):
        watched(trainer)
    assert trainer.state.global_step < 2


def test_a_question_that_is_learned_on_purpose_is_accepted(tmp_path):
    assert watched(sft(tmp_path, whole(CHATS)), accepted=["prompt_not_masked"]).state.global_step == 2

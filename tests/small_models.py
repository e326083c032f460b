"""Small stand-ins for real models: byte-level BPEs with real chat templates, random weights."""

from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM, set_seed

_TEMPLATES = Path(find_spec("trl").origin).parent / "chat_templates"
_TEXT = "Closing brackets in reverse stack order: ) ] }\n# Step 1: add ')'\nFINAL ANSWER: ( [ ] ) "
_MERGED = " (( [[ x((y x((y (("


class Family(NamedTuple):
    template: str
    """File name among TRL's."""
    special: tuple[str, ...]
    eos: str
    pad: str
    bos: str | None = None
    merged_brackets: bool = False
    """Whether the training text makes `((` one token."""
    plain: tuple[str, ...] = ()
    """Added tokens that are not special."""


_QWEN = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
FAMILIES = {
    "qwen2.5": Family("qwen2_5.jinja", _QWEN, eos="<|im_end|>", pad="<|endoftext|>"),
    "qwen3": Family(
        "qwen3.jinja", _QWEN, eos="<|im_end|>", pad="<|endoftext|>", plain=("<think>", "</think>")
    ),
    "r1-distill": Family(
        "deepseek_r1_distill.jinja",
        ("<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"),
        bos="<｜begin▁of▁sentence｜>",
        eos="<｜end▁of▁sentence｜>",
        pad="<｜end▁of▁sentence｜>",
        plain=("<｜User｜>", "<｜Assistant｜>", "<think>", "</think>"),
    ),
    "llama3": Family(
        "llama3.jinja",
        ("<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
        bos="<|begin_of_text|>",
        eos="<|eot_id|>",
        pad="<|eot_id|>",
    ),
    "merged": Family("qwen2_5.jinja", _QWEN, eos="<|im_end|>", pad="<|endoftext|>", merged_brackets=True),
}
"""By name; `merged` cuts `((` as one token."""
FAMILIES["r1-distill-training"] = FAMILIES["r1-distill"]._replace(
    template="deepseek_r1_distill_training.jinja"
)


def make_tokenizer(name: str = "qwen2.5") -> PreTrainedTokenizerFast:
    """A tokenizer of a family: its template and special tokens over a BPE of a few hundred tokens."""
    family = FAMILIES[name]
    bpe = Tokenizer(models.BPE())
    bpe.normalizer = normalizers.NFC()
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=list(family.special),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator([_TEXT + _MERGED * family.merged_brackets], trainer)
    bpe.add_tokens(list(family.plain))
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe, bos_token=family.bos, eos_token=family.eos, pad_token=family.pad
    )
    tokenizer.chat_template = (_TEMPLATES / family.template).read_text(encoding="utf-8")
    return tokenizer


def make_model(tokenizer: PreTrainedTokenizerFast, *, seed: int = 0, **changes: object) -> Qwen2ForCausalLM:
    """A random Qwen2 of two layers in fp32, the architecture of R1-Distill-Qwen."""
    set_seed(seed)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = Qwen2Config(
        **(
            sizes
            | {
                "vocab_size": len(tokenizer),
                "num_key_value_heads": 1,
                "max_position_embeddings": 2048,
                "initializer_range": 0.2,
                "pad_token_id": tokenizer.pad_token_id,
                "eos_token_id": tokenizer.eos_token_id,
                "bos_token_id": tokenizer.bos_token_id,
            }
            | changes
        )
    )
    return Qwen2ForCausalLM(config)

"""The tokenizer of the built-in base: every bracket, number and common word is one token.

A bracket is the same token at every place, and a space before it is a separate token. Numbers and words include the
space before them. Fixed phrases of a trace are one token each, so that a model cannot err within them. The tokenizer
is a byte-level BPE without merges, with Llama 3's `ignore_merges`: a piece of the vocabulary is one token, and any
other text falls back to its bytes. So all text can be encoded and decoded exactly.
"""

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from dycktune.tasks.dyck.brackets import PAIRS
from dycktune.tasks.dyck.problem import Problem
from dycktune.tasks.dyck.prompt import build_prompt
from dycktune.tasks.dyck.trace import ADD_MARKER, ANSWER_MARKER, CLOSING_MARKER, STYLES, render

MAX_NUMBER = 820
"""The largest number that is one token: 400 nested brackets with their closing have 800 positions."""

PAD, TURN, END = "<|pad|>", "<|im_start|>", "<|im_end|>"

CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

# Without the colon of the closing line: on the pages of the pretraining, a walk begins with a colon of its own.
_PHRASES = (CLOSING_MARKER.removesuffix(": "), ANSWER_MARKER, ADD_MARKER)
_PIECES = rf"# (?:Thought|Step)|{'|'.join(_PHRASES)}|: (?![A-Za-z0-9])| ?[A-Za-z]+| ?[0-9]+|[^\sA-Za-z0-9]|\s"

COMMON_WORDS = tuple(
    """
    a all and any are as at back be before begin block both by can cell change code copy count data
    depth down each edge end entry even every fact field file find first five follow for four from
    full gate get go group half has head here high in index into is it item join key last left level
    line link list look low map mark match mode more move name near new next no node not now number
    odd of off old on one open or order other out over page pair part path place plan point put
    range read rest right root row rule same say seen send set shape side sign six size slot so some
    sort space start state stay stop sum table take tail ten text that the then there these this
    three to token total tree turn two under unit up use value view was way when where which with
    word work you zero answer assistant user question system yes
    """.split()  # noqa: SIM905 - a word list reads better as text
)


def position_token(position: int) -> str:
    """The special token of a bracket's position; decoding without special tokens drops it."""
    return f"<|{position}|>"


def _task_pieces() -> list[str]:
    """The pieces of prompts and traces, repeated ones included."""
    problem = Problem("([{<⟨⟦⦃⦅" + "⦆")
    texts = [f(problem, style) for style in STYLES.values() for f in (build_prompt, render)]
    return [piece for text in texts for piece, _ in _splitter().pre_tokenize_str(text)]


def _splitter() -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.Split(Regex(_PIECES), behavior="isolated")


def pieces() -> list[str]:
    """Every piece that is one token, except numbers, single bytes and special tokens."""
    brackets = [bracket for pair in PAIRS for bracket in pair]
    words = [form for word in COMMON_WORDS for form in (word, f" {word}", word.capitalize())]
    distinct = dict.fromkeys([*brackets, *_task_pieces(), *words])
    return [piece for piece in distinct if not piece.strip().isdigit()]


def number_piece(number: int) -> str:
    """The piece of a number within a line."""
    return f" {number}"


def _vocabulary() -> dict[str, int]:
    to_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    known = [*pieces(), *map(number_piece, range(MAX_NUMBER + 1))]
    byte_level = [to_bytes.pre_tokenize_str(piece)[0][0] for piece in known]
    ordered = dict.fromkeys([*sorted(pre_tokenizers.ByteLevel.alphabet()), *byte_level])
    return {piece: i for i, piece in enumerate(ordered)}


def build_tokenizer() -> PreTrainedTokenizerFast:
    """The tokenizer, the same at every call."""
    tokenizer = Tokenizer(models.BPE(vocab=_vocabulary(), merges=[], ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [_splitter(), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    special = [PAD, TURN, END, *(position_token(i) for i in range(1, MAX_NUMBER + 1))]
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=PAD, eos_token=END, clean_up_tokenization_spaces=False
    )
    fast.chat_template = CHAT_TEMPLATE
    return fast

"""A dequantised GGUF file compared with llama.cpp on the same file.

Usage: gguf_logits.py FILE.gguf [--threads 1]

Needs the package xllamacpp, llama.cpp in prebuilt wheels: pip install xllamacpp. llama.cpp's server gives the log-probs
of the whole vocabulary for the next token, here with float32 keys and values. Each prompt is cut at several places, so
that positions near and far are compared. llama.cpp rounds activations to 8 bits where weights are quantised, so it is
also asked on a copy of the file with the dequantised weights in float32. The tokenizers are compared on the prompts, on
rendered conversations, and on text that is hard to cut. Prints Markdown.
"""

import argparse
import json
import platform
import statistics
import tempfile
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import gguf
import torch
import transformers
import xllamacpp

from dycktune.models.chat import prompt_ids, stop_ids
from dycktune.models.loading import LoadedModel, load

QUESTIONS = (
    "What is the capital of France?",
    "Complete the sequence, closing every bracket: ( [ { <",
    "Write a haiku about winter.",
    "What is 17 plus 25?",
    "Translate to French: good morning.",
    "List three colours.",
)
TEXTS = (
    "# Thought 1: [ pushed, stack: [\n# Thought 2: ( pushed, stack: [ (\nFINAL ANSWER: [ ( ) ]",
    "The quick brown fox jumps over the lazy dog, and then it sleeps until noon.",
    "def fib(n):\n    return n if n < 2 else fib(n - 1) + fib(n - 2)\n",
    "In 1969, two astronauts walked on the Moon; 12 people have done so by 1972.",
    "Die Würde des Menschen ist unantastbar. Sie zu achten und zu schützen ist Verpflichtung",
    '{ "name": "Ada", "born": 1815, "languages": ["English", "French"]',
)
HARD = (
    "", " ", "  ", "\n", " \n \n", "\t\tx", "a  b   c    d", "1234567890", "3.14159", "x1y22z333", "½ ² ٣ Ⅷ",
    "it's I'LL we'Re don't", "'s", "((((([[[[{{{{<<<<", "( [ { <", ")]}>", "a.b,c;d:e!f?g", "naïve é e\u0301 ﬁ",
    "日本語のテキスト", "🙂🙂 🏳️🌈", "<|im_start|>user\nhi<|im_end|>\n", "<|im_end", "a\r\nb\rc",
    "\u00a0nbsp\u2003em", "ALLCAPSword CamelCase snake_case", "http://example.org/a?b=c&d=%20", "\u0000\u0007",
    "trailing   ",
)  # fmt: skip
CUTS = (0.5, 0.75, 1.0)
"""Shares of a prompt after which the next token is compared."""


class Server:
    """llama.cpp's server on one GGUF file."""

    def __init__(self, path: Path, threads: int) -> None:
        parameters = xllamacpp.CommonParams()
        parameters.model.path = str(path)
        parameters.n_ctx, parameters.n_parallel = 2048, 1
        parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = threads
        parameters.cache_type_k = parameters.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
        parameters.warmup, parameters.port, parameters.verbosity = False, 0, 0
        self._server = xllamacpp.Server(parameters)

    def tokens(self, text: str) -> list[int]:
        """The ids of a text, with special tokens read as such and no bos token added."""
        return self._post("/tokenize", content=text, add_special=False, parse_special=True)["tokens"]

    def log_probs(self, ids: Sequence[int], vocabulary: int) -> torch.Tensor:
        """Log-probs of the token after `ids`, (vocabulary,)."""
        answer = self._post(
            "/completion",
            prompt=list(ids),
            n_predict=1,
            n_probs=vocabulary,
            temperature=0,
            cache_prompt=False,
        )
        rows = answer["completion_probabilities"][0]["top_logprobs"]
        found = torch.full((vocabulary,), -torch.inf)
        found[[row["id"] for row in rows]] = torch.tensor([row["logprob"] for row in rows])
        return found

    def _post(self, route: str, **content: Any) -> Any:
        request = urllib.request.Request(  # noqa: S310
            self._server.listening_address + route,
            json.dumps(content).encode(),
            {"content-type": "application/json"},
        )
        with urllib.request.urlopen(request) as answer:  # noqa: S310
            return json.load(answer)


def write_float32(path: Path, out: Path) -> Path:
    """A copy of a GGUF file with every tensor in float32."""
    reader = gguf.GGUFReader(path)
    writer = gguf.GGUFWriter(out, reader.fields["general.architecture"].contents())
    for name, field in reader.fields.items():
        if not name.startswith("GGUF.") and name != "general.architecture":
            inner = field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
            writer.add_key_value(name, field.contents(), field.types[0], sub_type=inner)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, gguf.dequantize(tensor.data, tensor.tensor_type))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return out


class Difference(NamedTuple):
    """How two predictions of one next token differ."""

    same_top: bool
    margin: float
    """Log-prob of our likeliest token above that of our second."""
    largest: float
    """Of the log-probs of tokens at least as likely as 1e-4."""
    mean: float
    """The same, the mean."""
    divergence: float
    """KL divergence of our distribution from llama.cpp's, in nats."""


def difference(ours: torch.Tensor, theirs: torch.Tensor) -> Difference:
    """Compare two vectors of log-probs, (vocabulary,)."""
    likely = (ours.exp() > 1e-4) | (theirs.exp() > 1e-4)
    gaps = (ours - theirs)[likely].abs()
    top = ours.topk(2).values
    return Difference(
        same_top=bool(ours.argmax() == theirs.argmax()),
        margin=float(top[0] - top[1]),
        largest=float(gaps.max()),
        mean=float(gaps.mean()),
        divergence=float((theirs.exp() * (theirs - ours)).nan_to_num().sum()),
    )


def prompts_of(loaded: LoadedModel) -> list[list[int]]:
    """A dozen prompts: rendered questions and plain texts."""
    asked = [prompt_ids(loaded.tokenizer, [{"role": "user", "content": question}]) for question in QUESTIONS]
    return asked + [plain_ids(loaded, text) for text in TEXTS]


def plain_ids(loaded: LoadedModel, text: str) -> list[int]:
    """The ids of a text as dycktune encodes it."""
    return loaded.tokenizer(text, add_special_tokens=False)["input_ids"]  # type: ignore[return-value]


@torch.inference_mode()
def our_log_probs(model: torch.nn.Module, ids: Sequence[int]) -> torch.Tensor:
    """Log-probs after every token of `ids`, (tokens, vocabulary)."""
    return model(input_ids=torch.tensor([list(ids)])).logits[0].float().log_softmax(-1)


def compare(loaded: LoadedModel, theirs: dict[tuple[int, ...], torch.Tensor]) -> list[Difference]:
    """The differences after each of llama.cpp's prefixes."""
    return [difference(our_log_probs(loaded.model, ids)[-1], found) for ids, found in theirs.items()]


def row(name: str, found: Sequence[Difference]) -> str:
    """A row of the table of log-probs."""
    same = sum(d.same_top for d in found)
    return (
        f"| {name} | {same} of {len(found)} | {max(d.largest for d in found):.3f} | "
        f"{statistics.fmean(d.mean for d in found):.4f} | {statistics.fmean(d.divergence for d in found):.1e} |"
    )


def tokenizer_report(loaded: LoadedModel, server: Server) -> str:
    """On how many texts both cut alike, and the first where they do not."""
    rendered = [
        str(
            loaded.tokenizer.apply_chat_template(
                [{"role": "user", "content": question}], tokenize=False, add_generation_prompt=True
            )
        )
        for question in QUESTIONS
    ]
    texts = [*rendered, *TEXTS, *HARD]
    other = [text for text in texts if plain_ids(loaded, text) != server.tokens(text)]
    first = "" if not other else (
        f"; first {other[0]!r}: {plain_ids(loaded, other[0])} against {server.tokens(other[0])}"
    )  # fmt: skip
    return f"{len(texts) - len(other)} of {len(texts)} texts are cut into the same tokens{first}"


def main() -> None:
    """Print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    loaded = load(options.file, device="cpu")
    server = Server(options.file, options.threads)
    print(f"transformers {transformers.__version__}, xllamacpp {xllamacpp.__version__}, {platform.machine()}")
    print(f"stop ids {stop_ids(loaded.tokenizer, loaded.model.generation_config)}")
    print(tokenizer_report(loaded, server))
    vocabulary = loaded.model.config.get_text_config().vocab_size
    prefixes = {tuple(ids[: max(1, round(share * len(ids)))]) for ids in prompts_of(loaded) for share in CUTS}
    theirs = {ids: server.log_probs(ids, vocabulary) for ids in sorted(prefixes)}
    with tempfile.TemporaryDirectory() as folder:
        exact = Server(write_float32(options.file, Path(folder) / "float32.gguf"), options.threads)
        same_weights = {ids: exact.log_probs(ids, vocabulary) for ids in theirs}
    print(
        "\n| weights: ours, llama.cpp's | same likeliest token | largest difference | mean | KL divergence |"
    )
    print("|---|---|---|---|---|")
    print(row("dequantised to float32, the same", compare(loaded, same_weights)))
    found = compare(loaded, theirs)
    print(row("dequantised to float32, the file", found))
    themselves = [difference(same_weights[ids], theirs[ids]) for ids in theirs]
    print(row("(llama.cpp's dequantised to float32, its own on the file)", themselves))
    loaded.model.to(torch.bfloat16).float()  # type: ignore[call-arg]
    print(row("rounded to bfloat16, dequantised to float32", compare(loaded, same_weights)))
    others = [round(d.margin, 3) for d in found if not d.same_top]
    print(f"\nOur margins where llama.cpp's likeliest token on the file is another: {others or 'none'}.")


if __name__ == "__main__":
    main()

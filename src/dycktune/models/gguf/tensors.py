"""The tensors of a GGUF file: exactly those of its model, each in its shape.

The readers that follow leave out a tensor that they do not know, and build a model of any size that the metadata claim.
"""

from dycktune.errors import ModelError
from dycktune.models.gguf.header import Header
from dycktune.models.gguf.layout import ROPE_FACTORS, Layout, short, unsupported


def check_tensors(header: Header, layout: Layout) -> None:
    """Compare the tensors of a file with those of its model, before any of them is read.

    Raises:
        ModelError: one is missing, or has another shape, or the model has no place for it.
    """
    if layout.layers > len(header.tensors):
        raise ModelError(
            f"{header.path} is damaged: it claims {layout.layers:,} layers and holds {len(header.tensors):,} tensors"
        )
    expected = _shapes(layout)
    found = {name: entry.shape for name, entry in header.tensors.items()}
    missing = [name for name in expected if name not in found]
    if missing:
        raise ModelError(
            f"{header.path} is damaged: it lacks {len(missing)} of {len(expected)} tensors, such as {missing[0]}"
        )
    for name, shape in found.items():
        if name not in expected:
            raise unsupported(
                header, f"holds {short(name)}, which is no tensor of a plain {layout.architecture} model"
            )
        if shape != expected[name]:
            raise ModelError(
                f"{header.path} is damaged: {name} has the shape {list(shape)}, and the file's own sizes make it "
                f"{list(expected[name])}"
            )


def _shapes(layout: Layout) -> dict[str, tuple[int, ...]]:
    """Shape of every tensor that the model has, and of those that the file has besides."""
    ends: dict[str, tuple[int, ...]] = {
        "token_embd.weight": (layout.vocabulary, layout.hidden),
        "output_norm.weight": (layout.hidden,),
    }
    if layout.stretched:
        ends[ROPE_FACTORS] = (layout.head_size // 2,)
    if not layout.tied:
        ends["output.weight"] = (layout.vocabulary, layout.hidden)
    layer = _layer_shapes(layout)
    layers = {f"blk.{i}.{name}": shape for i in range(layout.layers) for name, shape in layer.items()}
    return ends | layers


def _layer_shapes(layout: Layout) -> dict[str, tuple[int, ...]]:
    queries, keys = layout.heads * layout.head_size, layout.kv_heads * layout.head_size
    shapes: dict[str, tuple[int, ...]] = {
        "attn_norm.weight": (layout.hidden,),
        "attn_q.weight": (queries, layout.hidden),
        "attn_k.weight": (keys, layout.hidden),
        "attn_v.weight": (keys, layout.hidden),
        "attn_output.weight": (layout.hidden, queries),
        "ffn_norm.weight": (layout.hidden,),
        "ffn_gate.weight": (layout.feed_forward, layout.hidden),
        "ffn_up.weight": (layout.feed_forward, layout.hidden),
        "ffn_down.weight": (layout.hidden, layout.feed_forward),
    }
    if layout.architecture == "qwen2":
        shapes |= {"attn_q.bias": (queries,), "attn_k.bias": (keys,), "attn_v.bias": (keys,)}
    if layout.architecture == "qwen3":
        shapes |= {"attn_q_norm.weight": (layout.head_size,), "attn_k_norm.weight": (layout.head_size,)}
    return shapes

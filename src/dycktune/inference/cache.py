"""Keys and values of rows that grow by different amounts: rejected columns stay in place, hidden.

Shape legend: B rows, H heads, S columns in the cache, Q columns of the pass, D head size.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer

MAX_SLACK = 1.5
"""Hidden columns are removed once the cache has this many times the columns that the longest row needs."""

ROOM = 64
"""The fewest columns of room that a buffer gets when it grows; long ones grow by a quarter."""


class _Columns:
    """Keys or values of a layer, (B, H, S, D), at the beginning of a buffer with room for more columns."""

    def __init__(self, states_BHSD: Tensor) -> None:
        self._buffer, self._count = states_BHSD, states_BHSD.shape[2]

    def append(self, new_BHQD: Tensor) -> Tensor:
        """All columns with the new ones behind them. Those before are copied only where the buffer has to grow."""
        rows, heads, new, size = new_BHQD.shape
        count = self._count + new
        if count > self._buffer.shape[2]:
            wider = new_BHQD.new_empty(rows, heads, count + max(ROOM, count // 4), size)
            wider[:, :, : self._count] = self._buffer[:, :, : self._count]
            self._buffer = wider
        self._buffer[:, :, self._count : count] = new_BHQD
        self._count = count
        return self._buffer[:, :, :count]


class BufferedLayer(DynamicLayer):
    """A cache layer to which a column is added without a copy of all others.

    DynamicLayer's own makes a new tensor for each token, which takes most of the time of a pass over many rows.
    """

    def update(
        self, key_states: Tensor, value_states: Tensor, *_: object, **__: object
    ) -> tuple[Tensor, Tensor]:
        """Add columns; returns all keys and values."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self.replace(key_states[:, :, :0], value_states[:, :, :0])
        self.keys, self.values = self._keys.append(key_states), self._values.append(value_states)
        return self.keys, self.values

    def replace(self, keys: Tensor, values: Tensor) -> None:
        """Hold these columns from now on."""
        self.keys, self.values = keys, values
        self._keys, self._values = _Columns(keys), _Columns(values)


class RaggedCache:
    """A cache whose rows hold `lengths[b]` tokens each, in order, with hidden columns between them."""

    def __init__(self, rows: int) -> None:
        self.past = Cache(layer_class_to_replicate=BufferedLayer)
        self.lengths = [0] * rows
        self.seen_BS = torch.zeros(rows, 0, dtype=torch.bool)

    def repeated(self, rows: int) -> "RaggedCache":
        """A cache of `rows` rows that each hold the tokens of this one, which has one row."""
        cache = RaggedCache(rows)
        cache.lengths, cache.seen_BS = self.lengths * rows, self.seen_BS.expand(rows, -1)
        for i, layer in enumerate(self.past.layers):
            assert isinstance(layer, BufferedLayer)
            keys, values = (_held(states).expand(rows, -1, -1, -1) for states in (layer.keys, layer.values))
            cache.past.update(keys, values, i)
        return cache

    def mask(self, queries: int, dtype: torch.dtype, device: torch.device) -> Tensor | None:
        """The attention mask of the next `queries` tokens of each row: (B, 1, Q, S + Q), to be added to the scores.

        None for an empty cache: plain causal attention is right then, for rows padded on the right.
        """
        rows, held = self.seen_BS.shape
        if not held:
            return None
        causal_QQ = torch.ones(queries, queries, dtype=torch.bool).tril()
        seen = torch.cat(
            [
                self.seen_BS[:, None].expand(rows, queries, held),
                causal_QQ.expand(rows, queries, queries),
            ],
            dim=-1,
        )
        hidden = torch.zeros(seen.shape, dtype=dtype).masked_fill(~seen, torch.finfo(dtype).min)
        return hidden[:, None].to(device)

    def keep(self, gained: Sequence[int], rows: Sequence[int]) -> None:
        """After a pass: keep the first `gained[b]` new columns of row b, and only the rows `rows`."""
        new = self.past.get_seq_length() - self.seen_BS.shape[1]
        new_BQ = torch.arange(new) < torch.tensor(gained)[:, None]
        self.seen_BS = torch.cat([self.seen_BS, new_BQ], dim=1)[list(rows)]
        if len(rows) < len(self.lengths):
            self._replace(lambda states_BHSD, rows_B: states_BHSD[rows_B], torch.tensor(rows))
        self.lengths = [self.lengths[b] + gained[b] for b in rows]
        if self.seen_BS.shape[1] > MAX_SLACK * max(self.lengths):
            self._remove_hidden()

    def join(self, other: "RaggedCache") -> None:
        """Append the rows of `other`; neither cache is empty."""
        columns = max(self.seen_BS.shape[1], other.seen_BS.shape[1])
        self.seen_BS = torch.cat([_widened(cache.seen_BS, columns, 1) for cache in (self, other)])
        self.lengths += other.lengths
        for mine, theirs in zip(self.past.layers, other.past.layers, strict=True):
            assert isinstance(mine, BufferedLayer)
            assert isinstance(theirs, BufferedLayer)
            mine.replace(
                *(
                    torch.cat([_widened(_held(states), columns, 2) for states in pair])
                    for pair in ((mine.keys, theirs.keys), (mine.values, theirs.values))
                )
            )

    def _remove_hidden(self) -> None:
        order_BS = (~self.seen_BS).byte().argsort(dim=1, stable=True)[:, : max(self.lengths)]
        self.seen_BS = self.seen_BS.gather(1, order_BS)
        self._replace(_columns, order_BS)

    def _replace(self, pick: Callable[[Tensor, Tensor], Tensor], which: Tensor) -> None:
        for layer in self.past.layers:
            assert isinstance(layer, BufferedLayer)
            on_device = which.to(_held(layer.keys).device)
            layer.replace(*(pick(_held(states), on_device) for states in (layer.keys, layer.values)))


def _held(states: Tensor | None) -> Tensor:
    assert states is not None, "the cache is filled by the first pass"
    return states


def _widened(tensor: Tensor, columns: int, dim: int) -> Tensor:
    """`tensor` padded with zeros along `dim` to `columns`."""
    shape = list(tensor.shape)
    shape[dim] = columns - shape[dim]
    return torch.cat([tensor, tensor.new_zeros(shape)], dim)


def _columns(states_BHSD: Tensor, order_BS: Tensor) -> Tensor:
    _, heads, _, size = states_BHSD.shape
    return states_BHSD.gather(2, order_BS[:, None, :, None].expand(-1, heads, -1, size))

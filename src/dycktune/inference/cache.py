"""Keys and values of rows that grow by different amounts: what is right is kept, the rest forgotten.

Shape legend: B rows, H heads, S columns kept so far, Q columns of the round, D head size.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache, DynamicLayer


class RaggedCache:
    """A cache whose rows are left-aligned and hold `lengths[b]` tokens each."""

    def __init__(self, rows: int) -> None:
        self.past = DynamicCache()
        self.lengths = [0] * rows

    def mask(self, queries: int, dtype: torch.dtype, device: torch.device) -> Tensor | None:
        """What the next `queries` tokens of each row may attend to: (B, 1, Q, S + Q), to be added to the scores.

        None where nothing is kept yet: plain causal attention is right then, for rows padded on the right.
        """
        kept = max(self.lengths)
        if not kept:
            return None
        past_B1S = torch.arange(kept) < torch.tensor(self.lengths)[:, None, None]
        causal_QQ = torch.ones(queries, queries, dtype=torch.bool).tril()
        rows = len(self.lengths)
        seen = torch.cat(
            [past_B1S.expand(rows, queries, kept), causal_QQ.expand(rows, queries, queries)], dim=-1
        )
        hidden = torch.zeros(seen.shape, dtype=dtype).masked_fill(~seen, torch.finfo(dtype).min)
        return hidden[:, None].to(device)

    def keep(self, gained: Sequence[int], rows: Sequence[int]) -> None:
        """After a round: of row b's new columns keep the first `gained[b]`, and of the rows only `rows`."""
        old = max(self.lengths)
        before = self.lengths
        self.lengths = [before[b] + gained[b] for b in rows]
        longest = max(self.lengths, default=0)
        columns_BS = torch.arange(longest).expand(len(rows), longest)
        kept_B1 = torch.tensor([before[b] for b in rows])[:, None]
        # New columns stand behind the longest row's old ones.
        source_BS = torch.where(columns_BS < kept_B1, columns_BS, columns_BS - kept_B1 + old)
        for layer in self.past.layers:
            assert isinstance(layer, DynamicLayer) and layer.keys is not None and layer.values is not None  # noqa: PT018
            layer.keys = _gathered(layer.keys, rows, source_BS)
            layer.values = _gathered(layer.values, rows, source_BS)


def _gathered(states_BHSD: Tensor, rows: Sequence[int], source_BS: Tensor) -> Tensor:
    chosen = states_BHSD[torch.tensor(rows, device=states_BHSD.device)]
    _, heads, length, size = chosen.shape
    source = source_BS.clamp(max=length - 1).to(states_BHSD.device)
    return chosen.gather(2, source[:, None, :, None].expand(-1, heads, -1, size))

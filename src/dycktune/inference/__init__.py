"""Greedy decoding: the reference, speculative decoding with drafts, verified replies."""

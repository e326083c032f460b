"""Greedy decoding, and the replies read."""

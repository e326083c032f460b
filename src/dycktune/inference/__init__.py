"""Greedy decoding, and what the model wrote."""

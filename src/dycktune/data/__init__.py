"""Corpora, data files, and examples as tokens."""

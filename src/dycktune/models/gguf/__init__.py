"""GGUF files as models: a bounded reader, checks, dequantisation, and the cache of the results."""

"""Model references, chat templates, tokenizers, merging, and the built-in base."""

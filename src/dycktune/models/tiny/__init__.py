"""The embedded default base, `builtin:tiny`: its tokenizer, the text it was pretrained on, its weights."""

"""The built-in base model, `builtin:tiny`: tokenizer, text codec, pretraining text, weights."""

from dycktune.tasks.dyck.brackets import ASCII, EVERY
from dycktune.tasks.dyck.tokenizer_audit import audit
from small_models import make_tokenizer


def test_brackets_a_tokenizer_merges_are_found_with_the_remedy():
    found = audit(make_tokenizer("merged"), ASCII)
    assert "((" in found.merged
    assert found.merged_spaced == ()
    assert found.warnings[0].startswith("(( ")
    assert "keep a space between brackets" in found.warnings[0]


def test_a_tokenizer_that_keeps_ascii_brackets_apart_has_no_warning():
    found = audit(make_tokenizer("qwen2.5"), ASCII)
    assert (found.merged, found.merged_spaced, found.warnings) == ((), (), [])
    assert [cut.bracket for cut in found.cuts] == list("()[]{}<>")
    assert found.cuts[0].alone == ("(",)


def test_brackets_of_several_tokens_are_found():
    """These brackets are three bytes each, and the tokenizer has no token for any of them."""
    found = audit(make_tokenizer("qwen2.5"), EVERY)
    assert found.split == tuple("⟨⟩⟦⟧⦃⦄⦅⦆")
    assert any("more than one token" in warning for warning in found.warnings)


def test_brackets_that_merge_across_a_space_are_found():
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    whole = Tokenizer(models.WordLevel({"( (": 0, "?": 1}, unk_token="?"))  # noqa: S106
    whole.pre_tokenizer = pre_tokenizers.Split("\n", "isolated")
    found = audit(PreTrainedTokenizerFast(tokenizer_object=whole, unk_token="?"), ASCII)  # noqa: S106
    assert "((" in found.merged_spaced
    assert "even when spaced" in found.warnings[0]

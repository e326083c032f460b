from hypothesis import given
from hypothesis import strategies as st

from dycktune.models.codec import IdentityCodec, codec_of
from dycktune.models.tiny.positions import PositionCodec
from dycktune.models.tiny.vocabulary import build_tokenizer
from small_models import make_tokenizer


def test_only_the_built_in_tokenizer_has_position_tokens():
    assert isinstance(codec_of(build_tokenizer()), PositionCodec)
    assert isinstance(codec_of(make_tokenizer()), IdentityCodec)


@given(st.text(), st.text(min_size=1))
def test_the_codec_of_every_other_model_is_the_identity(text, marker):
    assert IdentityCodec().encode(text, marker=marker) == text
    assert IdentityCodec().unsupervised(text) == []

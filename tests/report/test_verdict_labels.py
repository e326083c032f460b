import pytest

from dycktune.diagnosis import LABELS, REWARD_LABELS
from dycktune.diagnosis.prose import HEADLINES
from dycktune.report import verdict


@pytest.mark.parametrize("label", sorted({*LABELS, *REWARD_LABELS}))
def test_every_label_has_a_headline_and_a_place_in_the_verdict(label):
    assert HEADLINES[label]
    assert verdict._HEALTH[label]

"""Laws of the set of keys."""

from hypothesis import given
from hypothesis import strategies as st

from dycktune.tasks.key_set import KeySet


@given(st.lists(st.text(max_size=3)))
def test_it_tells_new_keys_from_known_ones(keys):
    found, known = KeySet(), set[str]()
    for key in keys:
        assert found.add(key) == (key not in known)
        known.add(key)
        assert len(found) == len(known)


def test_it_keeps_every_key_while_it_grows():
    keys = [str(number) for number in range(5_000)]
    found = KeySet()
    assert all(found.add(key) for key in keys)
    assert not any(found.add(key) for key in keys)
    assert len(found) == len(keys)

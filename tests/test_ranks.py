import pytest

from dycktune import ranks
from dycktune.errors import RunError


@pytest.fixture
def second_of_three(monkeypatch):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "3")


@pytest.fixture
def told(monkeypatch) -> list:
    """What this rank told the others, who all gave 7."""
    sent = []

    def exchange(mine):
        sent.append(mine)
        return [(7, None), mine, (7, None)]

    monkeypatch.setattr(ranks, "_exchange", exchange)
    return sent


def fail():
    raise OSError("the disk went away")


def test_a_process_that_nobody_launched_is_the_only_rank():
    assert (ranks.rank(), ranks.count()) == (0, 1)
    assert ranks.share([1, 2, 3]) == [1, 2, 3]
    assert ranks.gathered(lambda: 5) == [5]
    assert ranks.by_first(lambda: 5) == 5
    with pytest.raises(OSError, match="went away"):
        ranks.gathered(fail)


@pytest.mark.parametrize("n", range(8))
def test_shares_are_put_back_in_order(monkeypatch, n):
    monkeypatch.setenv("WORLD_SIZE", "3")
    shares = []
    for rank in range(3):
        monkeypatch.setenv("RANK", str(rank))
        shares.append(ranks.share(list(range(n))))
    assert ranks.interleaved(shares) == list(range(n))


def test_every_rank_has_what_each_gave(second_of_three, told):
    assert ranks.gathered(lambda: 5) == [7, 5, 7]


def test_the_first_rank_alone_works(second_of_three, told):
    assert ranks.by_first(fail) == 7


def test_a_rank_that_fails_tells_the_others_before_it_raises(second_of_three, told):
    """Whatever the error: a rank that only raised would leave the others waiting."""
    with pytest.raises(OSError, match="went away"):
        ranks.gathered(fail)
    assert told == [(None, "rank 1 failed: the disk went away")]


def test_a_rank_stops_where_another_failed(second_of_three, monkeypatch):
    failed = (None, "rank 2 failed: the disk went away")
    monkeypatch.setattr(ranks, "_exchange", lambda mine: [(7, None), mine, failed])
    with pytest.raises(RunError, match="rank 2 failed: the disk went away"):
        ranks.gathered(lambda: 5)


def test_only_the_loss_of_another_rank_is_told_as_such(monkeypatch):
    gone, own = RuntimeError("Connection closed by peer [127.0.0.1]:33433"), RuntimeError("out of memory")
    assert not ranks.lost(gone)
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert ranks.lost(gone)
    assert not ranks.lost(own)

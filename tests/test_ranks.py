import pytest

from dycktune import ranks
from dycktune.errors import RunError


@pytest.fixture
def second_of_three(monkeypatch):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "3")


@pytest.fixture
def sent(monkeypatch) -> list:
    """What this rank sent to the others; each of them sends the result 7."""
    outcomes = []

    def exchange(outcome):
        outcomes.append(outcome)
        return [(7, None), outcome, (7, None)]

    monkeypatch.setattr(ranks, "_exchange", exchange)
    return outcomes


def fail():
    raise OSError("the disk went away")


def test_a_process_without_a_launcher_is_the_only_rank():
    assert (ranks.rank(), ranks.world_size(), ranks.is_main()) == (0, 1, True)
    assert ranks.shard([1, 2, 3]) == [1, 2, 3]
    assert ranks.all_gather(lambda: 5) == [5]
    assert ranks.on_main(lambda: 5) == 5
    with pytest.raises(OSError, match="went away"):
        ranks.all_gather(fail)


@pytest.mark.parametrize("n", range(8))
def test_interleaved_shards_are_in_the_original_order(monkeypatch, n):
    monkeypatch.setenv("WORLD_SIZE", "3")
    shards = []
    for rank in range(3):
        monkeypatch.setenv("RANK", str(rank))
        shards.append(ranks.shard(list(range(n))))
    assert ranks.interleave(shards) == list(range(n))


def test_every_rank_gets_the_results_of_all(second_of_three, sent):
    assert ranks.all_gather(lambda: 5) == [7, 5, 7]


def test_only_the_main_rank_calls_the_work(second_of_three, sent):
    assert not ranks.is_main()
    assert ranks.on_main(fail) == 7


def test_a_rank_that_fails_tells_the_others_before_it_raises(second_of_three, sent):
    """Whatever the error: if the rank only raised, the others would wait for it."""
    with pytest.raises(OSError, match="went away"):
        ranks.all_gather(fail)
    assert sent == [(None, "rank 1 failed: the disk went away")]


def test_a_rank_stops_when_another_has_failed(second_of_three, monkeypatch):
    failed = (None, "rank 2 failed: the disk went away")
    monkeypatch.setattr(ranks, "_exchange", lambda outcome: [(7, None), outcome, failed])
    with pytest.raises(RunError, match="rank 2 failed: the disk went away"):
        ranks.all_gather(lambda: 5)


def test_only_a_lost_connection_of_a_launch_is_a_lost_peer(monkeypatch):
    lost, other = RuntimeError("Connection closed by peer [127.0.0.1]:33433"), RuntimeError("out of memory")
    assert not ranks.is_lost_peer(lost)
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert ranks.is_lost_peer(lost)
    assert not ranks.is_lost_peer(other)

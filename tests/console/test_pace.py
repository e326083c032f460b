import pytest

from dycktune.console.pace import Pace


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


def work(pace, clock, *, steps, seconds_each, first=0):
    for step in range(first + 1, first + steps + 1):
        clock.now += seconds_each
        pace.advance(step)


def test_pauses_do_not_slow_the_speed_but_count_in_the_time_left(clock):
    pace = Pace(clock=clock)
    work(pace, clock, steps=10, seconds_each=2)
    pace.pause()
    clock.now += 30
    pace.advance(10)
    assert pace.per_second == pytest.approx(0.5)
    assert pace.left(20) == pytest.approx(20)
    assert pace.left(20, pauses=1) == pytest.approx(50)


def test_time_left_falls_while_a_step_or_a_pause_is_under_way(clock):
    pace = Pace(clock=clock)
    work(pace, clock, steps=2, seconds_each=10)
    clock.now += 4
    assert pace.left(3) == pytest.approx(6)
    pace.pause()
    clock.now += 20
    pace.advance(2)
    pace.pause()
    clock.now += 5
    assert pace.left(3) == pytest.approx(6 + 15)


def test_only_the_last_minute_counts(clock):
    pace = Pace(clock=clock)
    work(pace, clock, steps=10, seconds_each=30)
    work(pace, clock, steps=100, seconds_each=1, first=10)
    assert pace.per_second == pytest.approx(1.0)


def test_steps_of_an_earlier_session_are_not_counted_as_speed(clock):
    pace = Pace(done=288, clock=clock)
    assert pace.per_second is None
    assert pace.left(720) is None
    pace.advance(288)
    assert pace.per_second is None
    work(pace, clock, steps=1, seconds_each=2, first=288)
    assert pace.left(290) == pytest.approx(2)

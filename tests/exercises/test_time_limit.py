"""A function that does not end is stopped, whatever it swallows, and nothing is left running."""

# ruff: noqa: E722, F841, SIM105 (readers write such things)

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import threading
import time

import pytest
from small import centre

from aigc_lab.exercises import calling, verdict
from aigc_lab.exercises.checking import check, judge

LIMIT = 0.3
FAR_TOO_LONG = 60  # what ends after that was not stopped by us


def right(x):
    return 2 * (x - x.mean(axis=-1, keepdims=True))


def plain(x):
    while True:
        x = x + 1


def empty_loop(x):
    while True:
        pass


def swallows_exceptions(x):
    while True:
        try:
            x = x + 1
        except Exception:
            pass


def swallows_everything(x):
    while True:
        try:
            x = x + 1
        except:
            pass


def swallows_everything_around_calls(x):
    while True:
        try:
            sum(range(100))
        except:
            x = 0


def swallows_while_asleep(x):
    while True:
        try:
            time.sleep(0.01)
        except:
            continue


def swallows_twice(x):
    while True:
        try:
            while True:
                try:
                    time.sleep(0.001)
                except:
                    x = [n for n in range(9)]
        except:
            pass


def suppresses(x):
    while True:
        with contextlib.suppress(BaseException):
            x = x + 1


def loops_in_finally(x):
    try:
        plain(x)
    finally:
        plain(x)


def sleeps(x):
    while True:
        time.sleep(0.05)


def prints_without_end(x):
    while True:
        print("x" * 1000)


class Methods:
    def __call__(self, x):
        return self.helper(x)

    def helper(self, x):
        while True:
            try:
                self.n = 1
            except BaseException:
                self.n = 2


ENDLESS = [
    plain,
    empty_loop,
    swallows_exceptions,
    swallows_everything,
    swallows_everything_around_calls,
    swallows_while_asleep,
    swallows_twice,
    suppresses,
    loops_in_finally,
    sleeps,
    prints_without_end,
    Methods(),
]
every_endless_function = pytest.mark.parametrize(
    "function", ENDLESS, ids=lambda f: getattr(f, "__name__", "method")
)


def assert_stopped(found):
    assert found.status == verdict.WRONG
    assert found.kind == "time"
    assert "It did not come to an end and was stopped." in found.lines[0]


@every_endless_function
def test_an_endless_function_is_stopped(function):
    started = time.monotonic()
    assert_stopped(judge(centre, function, LIMIT))
    assert time.monotonic() - started < FAR_TOO_LONG
    assert judge(centre, right)


@every_endless_function
def test_an_endless_function_is_stopped_in_a_second_thread(function):
    if sys.version_info[:2] == (3, 12) and function in (swallows_while_asleep, swallows_twice):
        pytest.skip("Python 3.12 delivers the exception inside the lines that swallow it")
    found = []
    thread = threading.Thread(
        target=lambda: found.extend([judge(centre, function, LIMIT), judge(centre, right)]),
        daemon=True,
    )
    thread.start()
    thread.join(FAR_TOO_LONG)
    assert not thread.is_alive()
    assert_stopped(found[0])
    assert found[1]


def test_a_function_that_loops_on_one_input_only_is_stopped():
    def on_matrices(x):
        while x.shape[0] > 1:
            pass
        return right(x)

    found = judge(centre, on_matrices, LIMIT)
    assert_stopped(found)
    assert "Input (a matrix)" in "\n".join(found.lines)


def test_the_limit_holds_for_all_inputs_together():
    calls = []

    def slow(x):
        calls.append(x)
        time.sleep(0.2)
        return right(x)

    assert_stopped(judge(centre, slow, 0.5))
    assert len(calls) < len(centre.drawn_cases())
    assert judge(centre, slow, 60)


@pytest.mark.parametrize("seconds", [0, -1, 0.0])
def test_no_time_at_all_is_a_limit_too(seconds):
    assert_stopped(judge(centre, plain, seconds))


def test_any_amount_of_time_can_be_given():
    assert judge(centre, right, float("inf"))


def test_check_takes_the_seconds(monkeypatch, capsys):
    monkeypatch.setattr("aigc_lab.exercises.catalog.find", lambda _: centre)
    assert_stopped(check("small/centre", plain, seconds=LIMIT))
    assert "seconds=60" in capsys.readouterr().out


def test_a_function_may_tidy_up_before_it_is_stopped():
    tidied = []

    def tidy(x):
        try:
            plain(x)
        finally:
            for _ in range(1000):
                tidied.append(1)

    assert_stopped(judge(centre, tidy, LIMIT))
    assert len(tidied) == 1000


@pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="no alarm clock on this system")
def test_the_alarm_clock_is_as_it_was_and_rings_no_more():
    rings = []
    before = signal.signal(signal.SIGALRM, lambda *_: rings.append(1))
    try:
        mine = signal.getsignal(signal.SIGALRM)
        for function in (plain, swallows_everything, right):
            judge(centre, function, LIMIT)
            assert signal.getsignal(signal.SIGALRM) is mine
            assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
        time.sleep(0.5)
        assert rings == []
    finally:
        signal.signal(signal.SIGALRM, before)


def test_no_thread_stays_and_none_raises_later():
    def many():
        for _ in range(20):
            judge(centre, swallows_everything, 0.01)
        for _ in range(1000):  # where one that came too late would hit
            sum(range(100))
        ended.append(True)

    ended = []
    before = threading.active_count()
    thread = threading.Thread(target=many, daemon=True)
    thread.start()
    thread.join(FAR_TOO_LONG)
    assert ended == [True]
    assert threading.active_count() == before


def test_a_limit_that_ends_together_with_the_function_hurts_nobody():
    """The bell rings at about the moment at which the function returns."""

    def run():
        for n in range(60):
            outcome = calling.call(
                lambda f, x: f(x), lambda x: time.sleep(0.01), (1,), {}, ["x"], 0.0095 + n / 60_000
            )
            assert outcome.problem in ("", "time")
        ended.append(True)

    ended = []
    run()
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(FAR_TOO_LONG)
    assert ended == [True, True]
    assert sys.getrecursionlimit() > 100


def test_an_interruption_leaves_no_alarm():
    def interrupted(x):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        judge(centre, interrupted, LIMIT)
    if hasattr(signal, "SIGALRM"):
        assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


RECURSION = """
from aigc_lab.exercises import check

def softmax(scores):
    try:
        softmax(scores)
    except RecursionError:
        softmax(scores)

check("attention/softmax", softmax, seconds=1)
print("still alive")
"""


def test_endless_recursion_that_swallows_its_end_is_stopped():
    # In a process of its own: at the limit of the recursion pytest's own hooks fail as well.
    run = [sys.executable, "-c", RECURSION]
    result = subprocess.run(run, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stderr[-2000:]
    assert "not right yet" in result.stdout and result.stdout.endswith("still alive\n")

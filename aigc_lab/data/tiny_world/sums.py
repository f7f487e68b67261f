"""Sums of two numbers, plain or with the steps written out."""

import re
from functools import cache

from aigc_lab.data.tiny_world import lexicon
from aigc_lab.data.tiny_world.questions import Verdict
from aigc_lab.data.tiny_world.settings import WorldSettings
from aigc_lab.data.tiny_world.speaking import Speaker

PLAIN, STEPS = "Sums:", "Sums in steps:"


def say_sums(speaker: Speaker, settings: WorldSettings) -> list[tuple[int, int]]:
    """Say some sums, one a line, all plain or all with steps; return their numbers."""
    share = settings.steps_share
    with_steps = speaker.say(
        [(share, [True]), (1 - share, [False])], lambda steps: {STEPS if steps else PLAIN: 1}
    )
    said: list[tuple[int, int]] = []
    least, largest = settings.n_sums
    held_out = settings.split == "new_pairs"
    firsts = first_addends(settings.largest_addend, held_out)
    while len(said) < largest:
        stop = 1 / (largest - len(said) + 1) if len(said) >= least else 0
        a = speaker.say(
            [(1 - stop, firsts), (stop, [None])],
            lambda a: {"" if a is None else f"\n{a} + ": 1},
        )
        if a is None:
            break
        b = speaker.say(
            [(1, second_addends(a, settings.largest_addend, held_out))],
            lambda b, a=a: {sum_text(a, b, with_steps).removeprefix(f"{a} + "): 1},
        )
        said.append((a, b))
    return said


@cache
def first_addends(largest: int, held_out: bool) -> list[int]:
    """The numbers up to `largest` to which something may be added."""
    return [a for a in range(largest + 1) if second_addends(a, largest, held_out)]


@cache
def second_addends(a: int, largest: int, held_out: bool) -> list[int]:
    """The numbers up to `largest` that may be added to `a`."""
    return [b for b in range(largest + 1) if lexicon.is_held_out_sum(a, b) == held_out]


def sum_text(a: int, b: int, with_steps: bool = False) -> str:
    """A sum as a line: "37 + 48 = 85", or with its steps in front."""
    result = f"{a} + {b} = {a + b}"
    return f"{a} + {b}: {'; '.join(steps(a, b))}; {result}" if with_steps else result


def steps(a: int, b: int) -> list[str]:
    """The steps of adding digit by digit, as for 37 + 48: "7 + 8 = 15 carry 1", "3 + 4 + 1 = 8"."""
    written, carry = [], 0
    while a or b or not written:
        total = a % 10 + b % 10 + carry
        terms = f"{a % 10} + {b % 10}" + (" + 1" if carry else "")
        carry = total // 10
        written.append(f"{terms} = {total}" + (" carry 1" if carry else ""))
        a, b = a // 10, b // 10
    return written


def judge_sum(a: int, b: int, answer: str) -> Verdict:
    """Say whether a text ends in the right result of a + b."""
    numbers = re.findall(r"\d+", answer)
    if not numbers:
        return Verdict(False, f"{answer!r} holds no number")
    found, right = int(numbers[-1]), a + b
    if found == right:
        return Verdict(True)
    without = sum((a // 10**i % 10 + b // 10**i % 10) % 10 * 10**i for i in range(len(str(right))))
    if found == without:
        return Verdict(False, f"{found} forgets to carry; it is {right}")
    return Verdict(False, f"says {found}, but it is {right}")

"""The page in a real browser: keyboard, mouse, phone width, hostile texts, trouble."""

import os
from datetime import datetime, timedelta

import pytest
from feedback_helpers import NASTY, serving, some_pairs

from aigc_lab.alignment.feedback.pairs import Pair
from aigc_lab.alignment.feedback.votes import read_votes

DESKTOP, PHONE = (1200, 800), (375, 740)
PAUSE = 450  # ms; a new pair takes no choice for 400


@pytest.fixture
def path(tmp_path):
    return tmp_path / "votes.jsonl"


@pytest.fixture
def visit(browser):
    """A function that opens an address at a width and notes what went wrong on the way."""
    contexts = []

    def open_page(address: str, size: tuple[int, int] = DESKTOP, **options):
        context = browser.new_context(viewport={"width": size[0], "height": size[1]}, **options)
        contexts.append(context)
        tab = context.new_page()
        tab.problems = []
        tab.on("pageerror", lambda error: tab.problems.append(f"script error: {error}"))
        tab.on("dialog", lambda dialog: tab.problems.append(f"dialog: {dialog.message}"))
        tab.on("console", lambda message: tab.problems.append(f"{message.type}: {message.text}"))
        tab.on(
            "request",
            lambda request: (
                tab.problems.append(f"went to {request.url}")
                if not request.url.startswith((address.split("#")[0], "data:"))
                else None
            ),
        )
        tab.clock.install()  # runs as usual, and can be put forward instead of waiting
        tab.goto(address)
        ready(tab)
        return tab

    yield open_page
    for context in contexts:
        context.close()


def ready(tab) -> None:
    """Wait until the page takes a choice."""
    tab.wait_for_selector("#judge:not([hidden]), #end:not([hidden]), #problem:not([hidden])")
    tab.clock.fast_forward(PAUSE)


def progress(tab) -> str:
    return tab.locator("#progress").inner_text()


def press(tab, key: str, expected: str) -> None:
    tab.keyboard.press(key)
    tab.wait_for_function(
        "t => document.querySelector('#progress').textContent === t", arg=expected
    )
    tab.clock.fast_forward(PAUSE)


def texts(tab) -> tuple[str, str]:
    return tab.locator("#left .text").inner_text(), tab.locator("#right .text").inner_text()


def test_judging_by_keyboard_alone(path, visit):
    with serving(some_pairs(7), path) as server:
        tab = visit(server.address)
        shown = []
        for number, key in enumerate(["1", "ArrowRight", "t", "s", "0"], start=1):
            assert progress(tab) == f"{number} of 7"
            assert tab.locator("#prompt").inner_text().endswith(f"Story {number - 1}?")
            shown.append(texts(tab))
            press(tab, key, f"{number + 1} of 7")
        votes = read_votes(path)
        assert [getattr(v, v.choice, v.choice) for v in votes] == [
            shown[0][0],
            shown[1][1],
            "tie",
            "skip",
            "tie",
        ]
        press(tab, "u", "5 of 7")  # the last, and the one before
        press(tab, "U", "4 of 7")
        press(tab, "ArrowLeft", "5 of 7")
        press(tab, "2", "6 of 7")
        votes = read_votes(path)
        assert [v.choice == v.left for v in votes[3:]] == [True, False]
        # The buttons too: Tab shows where one is, Enter chooses.
        tab.keyboard.press("Tab")
        focused = "() => document.activeElement.dataset.side"
        assert tab.evaluate(focused) == "left"
        style = "() => getComputedStyle(document.activeElement).outlineStyle"
        assert tab.evaluate(style) == "solid"
        tab.keyboard.press("Tab")
        press(tab, "Enter", "7 of 7")
        assert read_votes(path)[-1].choice == "tie" and tab.evaluate(focused) == "tie"
        tab.keyboard.press("Control+2")  # the browser's own keys are left to it
        assert tab.evaluate("fetch('page.css').then(() => true)")  # after what a key has sent
        assert len(read_votes(path)) == 6
        press(tab, "2", "7 of 7")
        tab.wait_for_selector("#end:not([hidden])")
        assert not tab.locator("#judge").is_visible() and not tab.problems
        press(tab, "1", "7 of 7")  # nothing is left to judge
        assert len(read_votes(path)) == 7
        press(tab, "u", "7 of 7")
        tab.wait_for_selector("#judge:not([hidden])")
        assert len(read_votes(path)) == 6
        tab.reload()
        ready(tab)
        assert progress(tab) == "7 of 7" and not tab.problems


def test_judging_by_mouse_on_a_phone(path, visit):
    long = Pair((("user", "w" * 300),), "An answer. " * 200, "<|end|>" * 60 + "x" * 400, "long")
    with serving([long, *some_pairs(2)], path) as server:
        tab = visit(server.address, PHONE, has_touch=True)
        width = "() => document.documentElement.scrollWidth"
        assert tab.evaluate(width) <= PHONE[0]
        left, right = (tab.locator(f"#{side}").bounding_box() for side in ("left", "right"))
        assert right["y"] >= left["y"] + left["height"]  # below each other
        button = tab.get_by_role("button", name="Answer 2")
        box = button.bounding_box()
        assert box["y"] + box["height"] <= PHONE[1] and box["height"] >= 44  # in reach
        shown = tab.locator("#right .text").text_content()
        button.click()
        tab.wait_for_function("() => document.querySelector('#progress').textContent === '2 of 3'")
        (vote,) = read_votes(path)
        assert getattr(vote, vote.choice) == shown
        assert tab.evaluate(width) <= PHONE[0] and tab.evaluate("scrollY") == 0
        assert tab.locator("#said").inner_text() == "Answer 2: saved."
        assert not tab.problems


def test_answers_side_by_side_where_there_is_room(path, visit):
    with serving(some_pairs(3), path) as server:
        tab = visit(server.address)
        left, right = (tab.locator(f"#{side}").bounding_box() for side in ("left", "right"))
        assert left["y"] == right["y"] and left["x"] + left["width"] <= right["x"]
        assert not tab.problems


def test_double_clicks_and_held_keys_count_once(path, visit):
    with serving(some_pairs(9), path) as server:
        tab = visit(server.address)
        # The page's clock stands still: what follows is quick, however slow this machine is.
        tab.clock.pause_at(datetime.now() + timedelta(minutes=1))
        tab.get_by_role("button", name="Answer 1").dblclick()
        tab.wait_for_function("() => document.querySelector('#progress').textContent === '2 of 9'")
        tab.keyboard.press("1")
        tab.clock.fast_forward(399)
        tab.keyboard.press("1")
        assert progress(tab) == "2 of 9"
        tab.clock.fast_forward(2)
        for _ in range(30):  # held down
            tab.keyboard.down("2")
        tab.wait_for_function("() => document.querySelector('#progress').textContent === '3 of 9'")
        tab.clock.fast_forward(PAUSE)
        tab.keyboard.down("2")
        tab.keyboard.up("2")
        assert tab.evaluate("fetch('page.css').then(() => true)")  # after what a key has sent
        assert progress(tab) == "3 of 9" and len(read_votes(path)) == 2
        press(tab, "2", "4 of 9")
        assert path.read_bytes().count(b"\n") == 3


def test_hostile_texts_are_shown_as_text(path, visit):
    pair = Pair((("system", NASTY), ("user", "Hi\n  you")), NASTY, "", NASTY)
    with serving([pair], path, NASTY) as server:
        tab = visit(server.address)
        whole = [tab.locator(f"#{side} .text").text_content() for side in ("left", "right")]
        assert sorted(whole) == sorted([NASTY, "(says nothing)"])
        assert tab.locator("#prompt .text").all_text_contents() == [NASTY, "Hi\n  you"]
        assert tab.locator("#prompt h2").all_inner_texts() == ["System", "User"]
        assert tab.locator("main script, main img").count() == 0
        assert tab.title() == "Which answer is better?" and not tab.problems
        tab.keyboard.press("1")
        tab.wait_for_selector("#end:not([hidden])")
    (vote,) = read_votes(path)
    assert (vote.messages, {vote.a, vote.b}) == (pair.messages, {NASTY, ""})


def test_a_choice_that_cannot_be_saved_is_kept(path, visit):
    with serving(some_pairs(3), path) as server:
        tab = visit(server.address, PHONE)
        os.mkdir(path)
        tab.keyboard.press("2")
        tab.wait_for_selector("#problem:not([hidden])")
        said = tab.locator("#problem p").inner_text()
        assert "cannot be written: Is a directory" in said and "your choice is kept" in said
        assert progress(tab) == "1 of 3" and "chosen" in tab.locator("#right").get_attribute(
            "class"
        )
        tab.keyboard.press("1")  # another choice has to wait
        tab.wait_for_timeout(PAUSE)
        os.rmdir(path)
        shown = texts(tab)
        box = tab.locator("#again").bounding_box()
        assert box["y"] + box["height"] <= PHONE[1]
        tab.locator("#again").click()
        tab.wait_for_function("() => document.querySelector('#progress').textContent === '2 of 3'")
        (vote,) = read_votes(path)
        assert getattr(vote, vote.choice) == shown[1]
        assert not tab.locator("#problem").is_visible()
        # An answer that is lost on its way: sent again, the vote counts once.
        tab.wait_for_timeout(PAUSE)
        tab.route("**/vote", lambda route: (route.fetch(), route.abort()))
        tab.keyboard.press("1")
        tab.wait_for_selector("#problem:not([hidden])")
        assert "Is it still running?" in tab.locator("#problem p").inner_text()
        assert len(read_votes(path)) == 2 and progress(tab) == "2 of 3"
        tab.unroute("**/vote")
        press(tab, "r", "3 of 3")
        assert tab.locator("#said").inner_text() == "Answer 1: saved."  # the same vote, no second
        assert len(read_votes(path)) == 2


def test_another_window_has_judged_the_pair(path, visit):
    with serving(some_pairs(3), path) as server:
        first, second = visit(server.address), visit(server.address)
        press(first, "1", "2 of 3")
        press(second, "2", "2 of 3")
        assert "judged before" in second.locator("#said").inner_text()
        assert len(read_votes(path)) == 1
        press(second, "2", "3 of 3")


def test_without_the_key_the_page_says_what_to_do(path, visit):
    with serving(some_pairs(1), path) as server:
        tab = visit(server.address.split("#")[0])
        assert "open the whole address" in tab.locator("#problem p").inner_text()
        assert not tab.locator("#judge").is_visible()


def test_what_a_screen_reader_hears(path, visit):
    with serving(some_pairs(2), path) as server:
        tab = visit(server.address)
        heard = tab.locator("body").aria_snapshot()
        for line in (
            'heading "Which answer is better?" [level=1]',
            'region "Prompt"',
            'region "Answer 1"',
            'region "Answer 2"',
            'progressbar "Pairs judged"',
            'group "Your choice"',
            "status",
        ):
            assert line in heard, heard
        assert tab.locator("#bar").get_attribute("aria-valuemax") == "2"

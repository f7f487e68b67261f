"""In a real kernel: nothing a reader writes ends it, and the verdict is shown once, as HTML."""

from __future__ import annotations

import os

import nbformat
import pytest
from nbclient import NotebookClient

HOSTILE = {
    "sys.exit": "import sys\ndef softmax(scores):\n    sys.exit(3)",
    "exit()": "def softmax(scores):\n    exit()",
    "quit()": "def softmax(scores):\n    quit()",
    "exit in a helper": "def helper():\n    exit()\nclass A:\n"
    "    def __call__(self, scores):\n        helper()\nsoftmax = A()",
    "endless": "def softmax(scores):\n    while True:\n        pass",
    "endless with except": "def softmax(scores):\n    while True:\n        try:\n"
    "            scores + 1\n        except:\n            pass",
    "endless asleep": "import time\ndef softmax(scores):\n    while True:\n        try:\n"
    "            time.sleep(0.01)\n        except:\n            pass",
    "endless print": "def softmax(scores):\n    while True:\n        print('x' * 1000)",
    "raises": "def softmax(scores):\n    return scores.no_such_thing",
    "recursion": "def softmax(scores):\n    return softmax(scores)",
}
CHECK = "check('attention/softmax', softmax, seconds=0.5)"


@pytest.fixture(scope="module")
def kernel(tmp_path_factory):
    """Runs cells in one kernel for all tests here; each call returns the outputs by cell."""
    folder = tmp_path_factory.mktemp("notebook")
    notebook = nbformat.v4.new_notebook()
    client = NotebookClient(notebook, timeout=120, kernel_name="python3")
    env = os.environ | {"AIGC_LAB_PROGRESS": str(folder / "progress.json")}

    def run(*sources: str) -> list[list]:
        outputs = []
        for source in sources:
            notebook.cells.append(nbformat.v4.new_code_cell(source))
            index = len(notebook.cells) - 1
            outputs.append(client.execute_cell(notebook.cells[index], index).outputs)
        return outputs

    with client.setup_kernel(env=env):
        run("from aigc_lab.exercises import check, hint, solution, swap\nimport numpy as np")
        yield run


@pytest.mark.parametrize("source", HOSTILE.values(), ids=HOSTILE)
def test_the_next_cell_runs_after_a_hostile_function(kernel, source):
    _, shown, after = kernel(source, CHECK, "1 + 1")
    assert len(shown) == 1
    assert "not right yet" in shown[0].data["text/html"]
    assert after[0].data["text/plain"] == "2"


def test_exit_is_ipythons_again_after_a_check(kernel):
    _, _, after = kernel(HOSTILE["exit()"], CHECK, "type(exit).__name__")
    assert after[0].data["text/plain"] == "'ZMQExitAutocall'"


def test_a_verdict_is_shown_once_as_html_and_as_text(kernel):
    (shown,) = kernel(
        "def softmax(scores):\n    e = np.exp(scores - scores.max(-1, keepdims=True))\n"
        "    return e / e.sum(-1, keepdims=True)\n" + CHECK
    )
    assert [output.output_type for output in shown] == ["display_data"]
    assert "<strong>✔ attention/softmax: passed</strong>" in shown[0].data["text/html"]
    assert shown[0].data["text/plain"].startswith("✔ attention/softmax: passed")
    assign, last = kernel("verdict = " + CHECK, "verdict")
    assert len(assign) == 1
    assert last == []


def test_the_readers_line_is_the_notebooks(kernel):
    _, shown = kernel(HOSTILE["raises"], CHECK)
    html = shown[0].data["text/html"]
    assert "in line 2 of softmax: <code>return scores.no_such_thing</code>" in html


def test_hints_solutions_and_answers_are_rendered(kernel):
    hinted, solved, answered = kernel(
        "hint('attention/softmax')",
        "solution('attention/softmax')",
        "check('attention/temperature', 'They become equal, or one of them wins.')",
    )
    assert hinted[0].data["text/markdown"].startswith("**Hint 1 of ")
    assert solved[0].data["text/markdown"].startswith("```python\ndef softmax(")
    assert "text/html" in answered[0].data
    assert "text/markdown" in answered[1].data
    assert len(answered) == 2


def test_an_interruption_stops_the_check_and_not_the_kernel(kernel):
    shown, after = kernel(
        "import _thread, threading\n"
        "threading.Timer(0.3, _thread.interrupt_main).start()\n"
        "try:\n"
        "    check('attention/softmax', lambda scores: [0 for _ in iter(int, 1)], seconds=60)\n"
        "except KeyboardInterrupt:\n    print('interrupted')",
        "1 + 1",
    )
    assert shown[0].text == "interrupted\n"
    assert after[0].data["text/plain"] == "2"

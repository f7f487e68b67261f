"""What the tests of the exercises share: nobody's own progress is touched."""

import pytest

from aigc_lab.exercises import progress


@pytest.fixture(autouse=True)
def progress_file(tmp_path, monkeypatch):
    """A progress file for this test alone."""
    file = tmp_path / "progress" / "progress.json"
    monkeypatch.setenv(progress.VARIABLE, str(file))
    monkeypatch.setattr(progress, "_not_saved", {})
    return file

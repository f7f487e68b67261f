"""Formatting the code cells of a chapter's text."""

from tools.format_chapters import format_text

CHAPTER = """# Title

```python
x=1
```

```{code-cell} ipython3
---
tags: [hide-input]
---
y  =  { 'a':1 }
```

```{code-cell} ipython3
:tags: [hide-input]

f(x = 1)
```

```{code-cell} ipython3
print( "z" )
```
"""


def test_only_code_cells_change():
    formatted = format_text(CHAPTER)
    assert "```python\nx=1\n```" in formatted
    assert '---\ntags: [hide-input]\n---\ny = {"a": 1}\n```' in formatted
    assert ":tags: [hide-input]\n\nf(x=1)\n```" in formatted
    assert '```{code-cell} ipython3\nprint("z")\n```' in formatted


def test_formatting_again_changes_nothing():
    once = format_text(CHAPTER)
    assert format_text(once) == once

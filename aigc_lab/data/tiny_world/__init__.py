"""The tiny world: endless documents whose probability, content and right answers are known.

lexicon    the words, and how each fact may be put
settings   the knobs
speaking   choosing what to say and how, with exact probabilities
state      what is true, and what each fact requires
story      what may come next in a story
questions  questions about it, right answers, judgement
sums, dialogue
world      documents: made up, read back, or all of them
reading    what a text written by a model says, and what is wrong with it
"""

from aigc_lab.data.tiny_world.questions import all_questions, judge
from aigc_lab.data.tiny_world.reading import read_story
from aigc_lab.data.tiny_world.settings import WorldSettings
from aigc_lab.data.tiny_world.speaking import Impossible
from aigc_lab.data.tiny_world.world import Document, TinyWorld

__all__ = [
    "Document",
    "Impossible",
    "TinyWorld",
    "WorldSettings",
    "all_questions",
    "judge",
    "read_story",
]

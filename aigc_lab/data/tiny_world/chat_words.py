"""How people and the assistant put things in a conversation; slots as in `lexicon`."""

from aigc_lab.data.tiny_world import lexicon
from aigc_lab.data.tiny_world.questions import Question

STORY_FRAMES = [
    "Here is a story. {story} {question}",
    "Read this. {story} {question}",
    "{story} {question}",
    "{question} {story}",
]
SYSTEMS = {
    "short": ["Give short answers.", "Be brief."],
    "full": ["Answer in whole sentences.", "Give full answers."],
    "steps": ["Show how you add.", "Write out the steps of a sum."],
    "name": ["Your name is {P}.", "You are called {P}."],
}
SMALL_TALK = {
    "hello": (["Hello!", "Good morning!", "Hi there!"], ["Hello!", "Hello! What can I do?"]),
    "thanks": (["Thank you.", "Thanks!", "That helps."], ["You are welcome.", "Gladly."]),
    "goodbye": (["Goodbye!", "See you soon!"], ["Goodbye!", "Take care!"]),
}
WHO_ARE_YOU = ["Who are you?", "What is your name?"]
I_AM = ["I am a small model of a tiny world.", "I am a small language model."]
I_AM_CALLED = ["I am {P}.", "My name is {P}."]
SUMS = ["What is {a} + {b}?", "How much is {a} + {b}?", "Add {a} and {b}.", "{a} + {b} = ?"]

# What users say to give the assistant another name than it has.
RENAMING = ["", "", "", "You are called {Q}. ", "From now on you are {Q}. "]

# What a story never says, and what no story says.
UNSTATED_OF_PERSON = [
    "How old is {P}?",
    "What did {P} eat?",
    "Who is the mother of {P}?",
    "Where is the sister of {P}?",
    "What colour are the shoes of {P}?",
    "Why was {P} there?",
    "Is {P} tall?",
    "What did {P} dream of last week?",
    "What colour is the hat of {P}?",
    "Who is a friend of {P}?",
]
UNSTATED_OF_THING = [
    "How heavy is the {t}?",
    "Who made the {t}?",
    "What did the {t} cost?",
    "How old is the {t}?",
    "Was the {t} a gift?",
    "Is the {t} made of wood?",
    "Who lost the {t} last year?",
]
OUTSIDE = [
    "What is the capital of France?",
    "Who won the match?",
    "What will the weather be tomorrow?",
    "What is my name?",
    "Who is the king of Spain?",
    "What day is it?",
    "Where is my book?",
    "How many stars are there?",
    "How far is the moon?",
    "Where is the highest mountain?",
]
N_NEW_WORDINGS = 3  # at the end of each of the three lists, never trained on


def follow_ups(before: Question, question: Question) -> list[str]:
    """Wordings of a question that can only be understood after the one before; maybe none."""
    kind = question.kind
    if kind == before.kind and kind in ("where person", "what has"):
        return [f"And {question.person}?", f"What about {question.person}?"]
    if kind == before.kind and kind in ("where thing", "who has", "colour"):
        return [f"And the {question.thing}?", f"What about the {question.thing}?"]
    if question.thing and question.thing == before.thing:
        return {
            "where thing": ["Where is it?", "And where is it now?"],
            "who has": ["Who has it?", "And who is holding it?"],
            "colour": ["What colour is it?", "And which colour does it have?"],
        }.get(kind, [])
    if question.person and question.person == before.person:
        she = lexicon.pronoun(question.person)
        at = lexicon.at(question.place) if question.place else ""
        return {
            "where person": [f"Where is {she}?", f"And where is {she} now?"],
            "what has": [f"What does {she} have?", f"And what is {she} holding?"],
            "wish": [f"What did {she} want?", f"And what did {she} wish for?"],
            "is there": [f"Is {she} {at}?"],
        }.get(kind, [])
    return []

"""What a turn of a conversation asks for, and the judgement of any reply to it."""

from dataclasses import dataclass

from aigc_lab.data.tiny_world.questions import Question, Verdict, answers, judge, truth
from aigc_lab.data.tiny_world.state import State
from aigc_lab.data.tiny_world.sums import judge_sum, sum_text

DECLINES = (
    "I do not know.",
    "I cannot know that.",
    "I have no way to know that.",
    "Nobody has told me.",
)


@dataclass(frozen=True)
class Asked:
    """A question about a story that was told."""

    question: Question
    state: State
    kind = "question"

    def replies(self, style: str = "") -> list[str]:
        """Every right reply in a style: "short", "full", or any."""
        texts = answers(self.question, truth(self.question, self.state))
        return {"short": texts[:1], "full": texts[1:]}.get(style, texts)

    def judge(self, reply: str) -> Verdict:
        """Whether it is a right answer."""
        return judge(self.question, reply, self.state)


@dataclass(frozen=True)
class Unknowable:
    """A question that nobody can answer who knows no more than the conversation.

    Args:
        why: "absent", about somebody or something that the story does not have, or about the wish
            of somebody of whom it tells none; "unstated", about what it does not say; "outside",
            about the world beyond it.
    """

    why: str
    kind = "unknowable"

    def replies(self, style: str = "") -> list[str]:
        """Every way to decline."""
        return list(DECLINES)

    def judge(self, reply: str) -> Verdict:
        """Whether it declines."""
        if reply.strip() in DECLINES:
            return Verdict(True)
        return Verdict(False, f"{reply.strip()!r} does not say that nobody can know")


@dataclass(frozen=True)
class Sum:
    """A sum of two numbers."""

    a: int
    b: int
    kind = "sum"

    def replies(self, style: str = "") -> list[str]:
        """Right replies in a style: "short", "steps", or any other."""
        plain = f"{self.a} + {self.b} = {self.a + self.b}."
        if style == "steps":
            return [sum_text(self.a, self.b, with_steps=True) + "."]
        if style == "short":
            return [f"{self.a + self.b}."]
        return [plain, plain.replace("=", "is")]

    def judge(self, reply: str) -> Verdict:
        """Whether it ends in the right number."""
        return judge_sum(self.a, self.b, reply)


@dataclass(frozen=True)
class SmallTalk:
    """A greeting, thanks, or a question about the assistant itself."""

    right: tuple[str, ...]
    kind = "small talk"

    def replies(self, style: str = "") -> list[str]:
        """Every fitting reply."""
        return list(self.right)

    def judge(self, reply: str) -> Verdict:
        """Whether it is one of the fitting replies."""
        is_right = reply.strip() in self.right
        return Verdict(is_right, "" if is_right else f"{reply.strip()!r} does not fit")

"""Replies of every kind to the same items, for tests of other programs' scores beside this one's."""

from dycktune.harnesses.items import Questions, questions

COUNT = 12


def asked() -> Questions:
    return questions("dyck", count=COUNT, seed=3, options={"max_length": 8})


def reply(number: int, question, task) -> str:
    """In turn: the solution, the bare answer, closers in a wrong order, a wrong step, no answer, an empty reply."""
    solution, answer = task.solution(question.item), question.answer
    brackets = answer.split()
    swapped = " ".join([*brackets[:-2], *reversed(brackets[-2:])])
    kinds = (
        solution,
        f"FINAL ANSWER: {answer}",
        f"FINAL ANSWER: {swapped}",
        solution.replace("needs 1", "needs 9", 1),
        "I do not know.",
        "",
    )
    return kinds[number % len(kinds)]


def replies(found: Questions) -> list[str]:
    return [reply(number, question, found.task) for number, question in enumerate(found.questions)]

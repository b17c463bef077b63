"""What a terminal is told of how good a model is."""

from typing import Any

from rnnlab.scoring.score import Score

HEADINGS = ("difficulty", "accuracy", "chance", "nats", "answers")


def accuracy_table(split: str, score: Score) -> str:
    """One line a difficulty, and their mean where there are several."""
    rows = [
        (f"{one.difficulty:,}", f"{one.accuracy:.3f}", f"{one.chance:.3f}", f"{one.nats:.4f}", f"{one.answers:,}")
        for one in score.by
    ]
    if len(rows) > 1:
        rows.append(("mean", f"{score.accuracy:.3f}", f"{score.chance:.3f}", f"{score.nats:.4f}", ""))
    lines = ["".join(f"{cell:>12}" for cell in row).rstrip() for row in (HEADINGS, *rows)]
    return "\n".join([split, *lines])


def task_text(result: dict[str, Any]) -> str:
    """Of a finished run on a task: valid in a word, test at each difficulty."""
    name = result["task"]["difficulty"]
    each = ", ".join(f"{one['accuracy']:.3f} at {one[name]:,}" for one in result["test_by"])
    judged = "the last answer" if result["task"]["judged"] == "last" else "all answers"
    return (
        f"accuracy on {judged}: valid {result['valid_accuracy']:.3f} (chance {result['valid_chance']:.3f}), "
        f"test by {name} {each} (chance {result['test_chance']:.3f})"
    )

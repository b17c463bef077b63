"""Laws about the answers of a task: where they are asked, and what they follow from."""

import numpy as np

from rnnlab.testing.tasks import TaskSubject, law, spread

POSITIONS = 500_000
"""Over which the oracle is compared with the targets, all difficulties together [positions]."""

MOST_EXAMPLES = 2_048


@law("task")
def what_is_asked(subject: TaskSubject) -> None:
    """Weights are finite and not negative; every example asks something, its last position if that is judged."""
    judged = subject.task.judged
    if judged not in ("asked", "last"):
        subject.refuse(f"judged is {judged!r}; it is 'asked' or 'last'")
    for difficulty in subject.difficulties:
        weights = subject.draw(difficulty, range(64)).weights
        if not np.isfinite(weights).all() or weights.min() < 0:
            subject.refuse(f"weights go from {weights.min()} to {weights.max()}", difficulty)
        if not (weights > 0).any(axis=1).all():
            number = int((weights > 0).any(axis=1).argmin())
            subject.refuse(f"example {number} asks nothing: all of its weights are 0", difficulty)
        if judged == "last" and not (weights[:, -1] > 0).all():
            number = int((weights[:, -1] > 0).argmin())
            subject.refuse(f"the last position is judged, and example {number} does not ask it", difficulty)


@law("task")
def oracle(subject: TaskSubject) -> None:
    """By the inputs alone the oracle gives the target wherever something is asked."""
    count = subject.affordable(POSITIONS, subject.difficulties, MOST_EXAMPLES)
    for difficulty in subject.difficulties:
        examples = subject.draw(difficulty, range(count))
        kept = examples.inputs.copy()
        answers = subject.task.oracle(examples.inputs, difficulty)
        if np.shape(answers) != kept.shape:
            subject.refuse(f"it answers {np.shape(answers)} to inputs of shape {kept.shape}", difficulty)
        if not np.array_equal(examples.inputs, kept):
            subject.refuse("the inputs were changed in place", difficulty)
        wrong = np.argwhere((answers != examples.targets) & (examples.weights > 0))
        if len(wrong):
            n, t = wrong[0]
            said = f"{answers[n, t]} at position {t} of example {n}, whose target is {examples.targets[n, t]}"
            subject.refuse(f"the oracle says {said}; inputs {_shown(kept[n])}", difficulty)


@law("task")
def causal_answers(subject: TaskSubject) -> None:
    """What is asked at a position follows from the inputs up to it: other tokens after it leave the answer unchanged.

    The tokens after it are those of another example of the same difficulty, so the oracle meets inputs that no draw
    makes; what it says of the positions after the splice is not looked at.
    """
    for difficulty in spread(subject.difficulties, 16):
        inputs, _, weights = subject.draw(difficulty, range(32))
        answers, others = subject.task.oracle(inputs, difficulty), np.roll(inputs, 1, axis=0)
        for t in spread(np.flatnonzero((weights > 0).any(axis=0)).tolist(), 8):
            spliced = np.concatenate([inputs[:, : t + 1], others[:, t + 1 :]], axis=1)
            try:
                now = subject.task.oracle(spliced, difficulty)
            except Exception as error:
                fault = f"the oracle raised {type(error).__name__}: {error}; it answers any tokens"
                subject.refuse(f"{fault}, here those of one example up to position {t}, then another's", difficulty)
            changed = np.argwhere((now != answers)[:, : t + 1] & (weights[:, : t + 1] > 0))
            if len(changed):
                n, at = changed[0]
                claim = f"the answer asked at position {at} of example {n} changed with the inputs after position {t}"
                subject.refuse(f"{claim}; inputs {_shown(inputs[n])}", difficulty)


def _shown(inputs: np.ndarray) -> str:
    """Some tokens of an example, as a message has room for."""
    return " ".join(map(str, inputs[:24])) + (" ..." if len(inputs) > 24 else "")

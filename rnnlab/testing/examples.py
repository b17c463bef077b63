"""Laws about the examples of a task: how hard, how long, and what they are drawn from."""

from itertools import combinations, pairwise

import numpy as np

from rnnlab.task import Examples, Integers
from rnnlab.testing.tasks import TaskSubject, law, spread

NUMBERS = np.array([*range(24), 19_999, 2**32, 2**40])
"""Of the examples that are compared."""

READ = 20_000
"""Training examples of a difficulty among which those of valid and test are looked for, if the positions allow it."""

POSITIONS = 2_500_000
"""Of the training examples that are read for it [positions]."""


@law("task")
def difficulties(subject: TaskSubject) -> None:
    """Trained and tested difficulties are positive ints; what is tested begins and ends no lower than training does."""
    trained, tested = subject.declared("trained"), subject.declared("tested")
    for name, declared in (("trained", trained), ("tested", tested)):
        if len(set(declared)) < len(declared):
            subject.refuse(f"{name} has a difficulty twice: {list(declared)}")
    if min(tested) < min(trained):
        subject.refuse(f"difficulty {min(tested)} is tested; it is less than {min(trained)}, the least that is trained")
    if max(tested) < max(trained):
        subject.refuse(f"difficulty {max(trained)} is trained; it is greater than {max(tested)}, the greatest tested")


@law("task")
def tokens_and_lengths(subject: TaskSubject) -> None:
    """N draws give tokens of the vocabulary as int64 (N, L); a difficulty has one L, a greater one no less."""
    vocabulary = subject.task.vocabulary
    if type(vocabulary) is not int or vocabulary < 1:
        subject.refuse(f"vocabulary is {vocabulary!r}; it is a positive int")
    lengths = {}
    for difficulty in subject.difficulties:
        found = set()
        for numbers, split in ((range(64), "train"), (range(1), "train"), (range(7), "test")):
            examples = subject.draw(difficulty, numbers, split)
            _check_arrays(subject, examples, len(numbers), difficulty)
            found.add(examples.inputs.shape[1])
        if len(found) > 1:
            subject.refuse(f"examples of one difficulty have lengths {sorted(found)}", difficulty)
        (lengths[difficulty],) = found
    for easier, harder in pairwise(lengths):
        if lengths[harder] < lengths[easier]:
            shorter = f"examples have length {lengths[harder]}, and {lengths[easier]} at difficulty {easier}"
            subject.refuse(shorter, harder)


def _check_arrays(subject: TaskSubject, examples: Examples, count: int, difficulty: int) -> None:
    if not isinstance(examples, Examples):
        subject.refuse(f"examples returned a {type(examples).__name__}; it returns rnnlab.task.Examples", difficulty)
    shape = np.shape(examples.inputs)
    for name, dtype in (("inputs", np.int64), ("targets", np.int64), ("weights", np.float32)):
        array = getattr(examples, name)
        if not isinstance(array, np.ndarray) or array.dtype != dtype:
            subject.refuse(f"{name} are {getattr(array, 'dtype', type(array))}, not {np.dtype(dtype)}", difficulty)
        if array.ndim != 2 or array.shape != shape or len(array) != count or not array.size:
            subject.refuse(f"{name} of {count} draws have shape {array.shape}, inputs {shape}; both (N, L)", difficulty)
    for name in ("inputs", "targets"):
        array, vocabulary = getattr(examples, name), subject.task.vocabulary
        if array.min() < 0 or array.max() >= vocabulary:
            found = f"{array.min()} to {array.max()}"
            subject.refuse(f"{name} hold {found}; tokens are 0 to {vocabulary - 1}, vocabulary - 1", difficulty)


@law("task")
def seed_and_number(subject: TaskSubject) -> None:
    """Example n of a seed is the same twice, alone or among others, in any order; another seed gives others."""
    places = np.arange(len(NUMBERS))
    for difficulty in spread(subject.difficulties, 3):
        want = subject.draw(difficulty, NUMBERS)
        again = subject.build().examples(subject.draws(NUMBERS), difficulty)
        _agree(subject, again, want, places, "as a task built anew makes it", difficulty)
        for chosen, how in (
            (places, "drawn again"),
            (places[::-1], "in reverse order"),
            (places[::2], "beside others"),
        ):
            _agree(subject, subject.draw(difficulty, NUMBERS[chosen]), want, chosen, how, difficulty)
        for alone in spread(places.tolist(), 3):
            chosen = places[alone : alone + 1]
            _agree(subject, subject.draw(difficulty, NUMBERS[chosen]), want, chosen, "drawn alone", difficulty)
    hardest, other = subject.difficulties[-1], TaskSubject(subject.part, subject.seed + 1)
    if _same(subject.draw(hardest, NUMBERS), other.draw(hardest, NUMBERS)):
        subject.refuse(f"seed {other.seed} gives the same examples", hardest)


def _agree(subject: TaskSubject, got: Examples, want: Examples, places: Integers, how: str, difficulty: int) -> None:
    for name in Examples._fields:
        for row, place in enumerate(places):
            if not np.array_equal(getattr(got, name)[row], getattr(want, name)[place]):
                subject.refuse(f"example {NUMBERS[place]} {how} has other {name} than at first", difficulty)


@law("task")
def splits_draw_apart(subject: TaskSubject) -> str:
    """Train, valid and test draw different examples; those of valid and test are the same for every seed of a run."""
    hardest, other = max(subject.declared("trained")), TaskSubject(subject.part, subject.seed + 1)
    drawn = {split: subject.draw(hardest, range(64), split) for split in ("train", "valid", "test")}
    for one, another in combinations(drawn, 2):
        if _same(drawn[one], drawn[another]):
            subject.refuse(f"the examples of {one} are those of {another}", hardest)
    for split in ("valid", "test"):
        if not _same(drawn[split], other.draw(hardest, range(64), split)):
            subject.refuse(f"seed {other.seed} has other examples of {split}", hardest)
    return _repeated(subject)


def _same(one: Examples, another: Examples) -> bool:
    return all(np.array_equal(getattr(one, name), getattr(another, name)) for name in Examples._fields)


def _repeated(subject: TaskSubject) -> str:
    """What share of valid and of test training could have seen, at difficulties that are trained."""
    trained = subject.declared("trained")
    held_out = {"valid": sorted(trained), "test": sorted({*trained} & {*subject.declared("tested")})}
    chosen = {split: spread(difficulties, 5) for split, difficulties in held_out.items()}
    every = sorted({*chosen["valid"], *chosen["test"]})
    read = subject.affordable(POSITIONS, every, READ)
    shares: dict[str, list[float]] = {split: [] for split in chosen}
    for difficulty in every:
        seen: set[bytes] = set()
        for start in range(0, read, 1_000):
            seen.update(_rows(subject.draw(difficulty, range(start, min(start + 1_000, read)))))
        for split in chosen:
            if difficulty in chosen[split]:
                rows = _rows(subject.draw(difficulty, range(256), split))
                shares[split].append(sum(row in seen for row in rows) / len(rows))
    said = [f"{np.mean(share):.1%} of {split}" for split, share in shares.items() if share]
    return f"{' and '.join(said)} are among the first {read:,} training examples of the same difficulty"


def _rows(examples: Examples) -> list[bytes]:
    return [row.tobytes() for row in examples.inputs]

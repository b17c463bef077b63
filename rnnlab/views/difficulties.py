"""The test of runs on a task, by difficulty: lengths, distances or pairs that were trained, and greater ones."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from rnnlab.views import numerals
from rnnlab.views.intervals import Interval, mean_interval
from rnnlab.views.metrics import Facts, by_difficulty, difficulty_of, is_task, number, task_name
from rnnlab.views.tables import Cell, Column, Table
from rnnlab.views.task_rows import slug

SEEN = 0.01  # share of test examples that training has read, from which on a reader must know


@dataclass(frozen=True)
class TaskTest:
    """What variants reached on one task."""

    task: str  # its name
    difficulty: str  # what its difficulties count: "length", "pairs", "distance"
    variants: Mapping[str, Sequence[Facts]]  # results of the seeds of each, as result.json has them

    @cached_property
    def rows(self) -> dict[str, list[dict[int, Facts]]]:
        """Of every variant and seed, the test by difficulty."""
        return {name: [by_difficulty(one) for one in seeds] for name, seeds in self.variants.items()}

    @cached_property
    def difficulties(self) -> list[int]:
        """All that some run was tested at, in ascending order."""
        return sorted({at for seeds in self.rows.values() for one in seeds for at in one})

    @property
    def trained(self) -> tuple[int, int] | None:
        """The least and the greatest difficulty that some run was trained on; None if no run says."""
        lists = [one["task"].get("trained") for seeds in self.variants.values() for one in seeds]
        found = [each for one in lists if isinstance(one, list) for each in one if isinstance(each, int)]
        return (min(found), max(found)) if found else None

    @property
    def hardest_trained(self) -> int:
        """The greatest difficulty that was tested and is not beyond what was trained; the least, if no run says."""
        trained = self.trained
        within = [each for each in self.difficulties if trained is not None and each <= trained[1]]
        return max(within, default=self.difficulties[0])

    def chance(self, difficulty: int) -> float | None:
        """Accuracy of the best constant answer; None if runs do not agree in it."""
        found = set(self._all("chance", difficulty))
        return found.pop() if len(found) == 1 else None

    def accuracies(self, variant: str, difficulty: int) -> list[float]:
        """Of the variant's seeds."""
        found = (number(one.get(difficulty, {}).get("accuracy")) for one in self.rows[variant])
        return [accuracy for accuracy in found if accuracy is not None]

    def mean(self, variant: str, difficulty: int) -> float | None:
        """Accuracy over the variant's seeds."""
        values = self.accuracies(variant, difficulty)
        return sum(values) / len(values) if values else None

    def accuracy(self, variant: str, difficulty: int) -> Interval | None:
        """Mean and interval over the variant's seeds."""
        values = self.accuracies(variant, difficulty)
        return mean_interval(values) if values else None

    def reach(self, variant: str) -> float | None:
        """How far back the variant can look [positions]; None if nothing bounds it."""
        found = [number(one.get("reach")) for one in self.variants[variant]]
        return found[0] if len(set(found)) == 1 else None

    def table(self) -> Table:
        """A row a variant, a column a difficulty, and a row of chance at the end."""
        columns = [Column("variant", "Variant")]
        for at in self.difficulties:
            title = f"{self.difficulty.capitalize()} {at:,}" if at == self.difficulties[0] else f"{at:,}"
            columns.append(Column(f"{self.difficulty}_{at}", title, "interval", numerals.plus_minus(3)))
        rows: list[dict[str, Cell]] = [
            {"variant": name, **{f"{self.difficulty}_{at}": self.accuracy(name, at) for at in self.difficulties}}
            for name in self.variants
        ]
        chances = {at: chance for at in self.difficulties if (chance := self.chance(at)) is not None}
        if chances:
            rows.append({"variant": "chance"} | {f"{self.difficulty}_{at}": _exact(p) for at, p in chances.items()})
        return Table(f"{self.task}: test accuracy by {self.difficulty}", columns, rows, self._notes(bool(chances)))

    def _notes(self, has_chance: bool) -> list[str]:
        notes = []
        if trained := self.trained:
            least, greatest = (f"{end:,}" for end in trained)
            notes.append(f"Trained on {self.difficulty} {least if least == greatest else f'{least} to {greatest}'}.")
        if any(len(seeds) > 1 for seeds in self.variants.values()):
            notes.append("± is half the 95% confidence interval (Student t) over seeds.")
        if has_chance:
            notes.append("Chance is the accuracy of the best constant answer.")
        else:
            notes.append("Chance is not the same for all of these runs: their tasks differ.")
        seen = {at: share for at in self.difficulties if (share := self._seen(at)) >= SEEN}
        if seen:
            told = ", ".join(f"{100 * share:.0f}% at {at:,}" for at, share in seen.items())
            notes.append(f"Test examples that training has read as well: {told}.")
        return notes

    def _seen(self, difficulty: int) -> float:
        """The greatest share over the runs."""
        return max(self._all("seen", difficulty), default=0.0)

    def _all(self, key: str, difficulty: int) -> list[float]:
        """Of every run that has it."""
        rows = (one.get(difficulty, {}) for seeds in self.rows.values() for one in seeds)
        return [value for row in rows if (value := number(row.get(key))) is not None]


def task_tests(variants: Mapping[str, Sequence[Facts]]) -> list[TaskTest]:
    """One a task, in order of appearance, of the runs that were tested.

    Args:
        variants: results of the seeds of each, as result.json has them; those on text are left out.
    """
    found: dict[tuple[str, str], dict[str, list[Facts]]] = {}
    for name, seeds in variants.items():
        for facts in seeds:
            if is_task(facts) and by_difficulty(facts):
                key = task_name(facts), difficulty_of(facts)
                found.setdefault(key, {}).setdefault(name, []).append(facts)
    return [TaskTest(*key, group) for key, group in found.items()]


def stems(tests: Sequence[TaskTest]) -> list[str]:
    """What the files of each are called: by_length; by_length_parity if several tasks have lengths."""
    words = [test.difficulty for test in tests]
    return [
        f"by_{slug(test.difficulty)}" + (f"_{slug(test.task)}" if words.count(test.difficulty) > 1 else "")
        for test in tests
    ]


def _exact(value: float) -> Interval:
    return Interval(value, None, None, 0)

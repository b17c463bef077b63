"""The matrix of variants against tasks: which cells it has, and its table. `rnnlab.views.task_matrix` draws it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rnnlab.views import numerals
from rnnlab.views.difficulties import TaskTest
from rnnlab.views.intervals import Interval
from rnnlab.views.tables import Cell, Column, Table
from rnnlab.views.task_rows import rows_of, slug


@dataclass(frozen=True)
class MatrixColumn:
    """A task at one of its difficulties."""

    test: TaskTest
    difficulty: int
    names: Mapping[str, str]  # by row, what the task's runs call the variant

    @property
    def key(self) -> str:
        return f"{slug(self.test.task)}_{self.difficulty}"

    def mean(self, row: str) -> float | None:
        return self.test.mean(self.names[row], self.difficulty) if row in self.names else None

    def accuracy(self, row: str) -> Interval | None:
        return self.test.accuracy(self.names[row], self.difficulty) if row in self.names else None


def matrix_columns(tests: Sequence[TaskTest]) -> list[MatrixColumn]:
    """Of each task the greatest difficulty that was trained on, and the greatest that was tested."""
    found = []
    for test in tests:
        names = rows_of(test.task, {name: seeds[0] for name, seeds in test.variants.items()})
        levels = dict.fromkeys([test.hardest_trained, test.difficulties[-1]])
        found += [MatrixColumn(test, at, names) for at in levels]
    return found


def matrix_rows(columns: Sequence[MatrixColumn]) -> list[str]:
    """What a variant is called where its task is a column; in order of appearance."""
    return list(dict.fromkeys(row for column in columns for row in column.names))


def matrix_table(tests: Sequence[TaskTest]) -> Table:
    """The cells of the matrix with their intervals, and a row of chance."""
    cells = matrix_columns(tests)
    columns = [
        Column(one.key, f"{one.test.task} {numerals.grouped(one.difficulty)}", "interval", numerals.plus_minus(3))
        for one in cells
    ]
    rows: list[dict[str, Cell]] = [
        {"variant": row, **{one.key: one.accuracy(row) for one in cells}} for row in matrix_rows(cells)
    ]
    chances = {one.key: one.test.chance(one.difficulty) for one in cells}
    exact = {key: None if chance is None else Interval(chance, None, None, 0) for key, chance in chances.items()}
    rows.append({"variant": "chance", **exact})
    counted = ", ".join(f"{test.task} by {test.difficulty}" for test in tests)
    notes = [
        f"{counted}: the greatest that was trained on, then the greatest that was tested.",
        "± is half the 95% confidence interval (Student t) over seeds.",
    ]
    return Table("Test accuracy of variants on tasks", [Column("variant", "Variant"), *columns], rows, notes)

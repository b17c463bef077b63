"""The pictures of a search, from trials that nobody trained."""

import math
from pathlib import Path
from typing import Any

import optuna
import pytest
from matplotlib.figure import Figure
from optuna.trial import FrozenTrial, TrialState

from rnnlab.studies.search import pictures
from rnnlab.studies.search.space import Space
from rnnlab.views import plots
from rnnlab.views.metrics import METRICS, Metric

BPC, ACCURACY = METRICS["valid_bpc"], METRICS["valid_accuracy"]
SPACE = Space.read(
    {
        "SingleHead.memory": {"type": "int", "low": 16, "high": 4096, "log": True},
        "dropout": {"type": "float", "low": 0.0, "high": 0.5},
        "Block.core": {"type": "categorical", "choices": ["@core.LSTM", "@core.QRNN"]},
    }
)


def trial(number: int, state: TrialState = TrialState.COMPLETE, **params: Any) -> FrozenTrial:
    memory, dropout = 16 * 2 ** (number % 8), 0.05 * (number % 9)
    bpc = 2.5 + 0.1 * dropout + 0.01 * abs(8 - math.log2(memory))
    given = {"SingleHead.memory": memory, "dropout": dropout, "Block.core": ["@core.LSTM", "@core.QRNN"][number % 2]}
    made = optuna.create_trial(
        state=state,
        value=bpc if state is TrialState.COMPLETE else 4.0,
        params={**given, **params},
        distributions={entry.key: entry.distribution for entry in SPACE.entries},
        intermediate_values={10_000: 4.0, 60_000: bpc} if state is TrialState.COMPLETE else {10_000: 4.0},
        user_attrs={"baseline": True} if number == 0 else {},
    )
    made.number = number
    return made


MANY = [trial(n, TrialState.PRUNED if n % 5 == 4 else TrialState.COMPLETE) for n in range(16)]
ONE = [trial(0)]
ON_A_LINE = [trial(n, dropout=0.1) for n in range(4)]
PRUNED = [trial(n, TrialState.PRUNED) for n in range(3)]


def all_figures(trials: list[FrozenTrial], metric: Metric) -> dict[str, Figure]:
    memory, dropout, core = SPACE.entries
    return {
        "history": pictures.history(trials, metric),
        "slice": pictures.slices(trials, metric, SPACE.entries),
        "contour": pictures.contour(trials, metric, memory, dropout),
        "contour over a choice": pictures.contour(trials, metric, core, dropout),
        "intermediate": pictures.intermediate(trials, metric),
        "importance": pictures.importance({"dropout": 0.8, "SingleHead.memory": 0.2}),
    }


@pytest.mark.slow
@pytest.mark.parametrize("metric", [BPC, ACCURACY], ids=["bpc", "accuracy"])
@pytest.mark.parametrize(
    "trials",
    [
        pytest.param(MANY, id="many"),
        *(
            pytest.param(few, id=name, marks=pytest.mark.long)
            for name, few in {"none": [], "one": ONE, "line": ON_A_LINE, "pruned": PRUNED}.items()
        ),
    ],
)
def test_every_picture_can_be_drawn_of_whatever_trials_there_are(
    trials: list[FrozenTrial], metric: Metric, tmp_path: Path
) -> None:
    for name, figure in all_figures(trials, metric).items():
        png, _ = plots.save(figure, tmp_path, name)
        assert png.stat().st_size > 5_000


def accurate(number: int, accuracy: float, state: TrialState = TrialState.COMPLETE) -> FrozenTrial:
    made = trial(number, state)
    made.value = accuracy
    return made


def test_of_accuracy_the_highest_is_the_best() -> None:
    trials = [accurate(0, 0.5), accurate(1, 0.9), accurate(2, 0.7), accurate(3, 0.02, TrialState.PRUNED)]
    axis = pictures.history(trials, ACCURACY).axes[0]
    best = next(line for line in axis.get_lines() if line.get_label() == "best so far")
    assert list(best.get_ydata()) == [0.5, 0.9, 0.9]
    assert axis.get_ylabel() == "Valid accuracy [fraction]"
    low, high = axis.get_ylim()
    assert 0.02 < low < 0.5, "a trial that was pruned early does not squeeze the others"
    assert high > 0.9
    memory, dropout, _ = SPACE.entries
    contour = pictures.contour(trials, ACCURACY, memory, dropout).axes[0]
    star = next(line for line in contour.get_lines() if line.get_label() == "best")
    assert star.get_ydata()[0] == pytest.approx(trials[1].params["dropout"])
    assert pictures.intermediate(trials, ACCURACY).axes[0].get_xlabel() == "Positions trained"


def drawn_values(figure: Figure, label: str) -> dict[float, float]:
    """{trial: value} of what can be seen of the points with this label, on whichever axis they lie."""
    seen = {}
    for axis in figure.axes:
        low, high = axis.get_ylim()
        for line in axis.get_lines():
            if line.get_label() == label or (label == "pruned, at its end" and line.get_marker() == "x"):
                pairs = zip(list(line.get_xdata()), list(line.get_ydata()), strict=True)  # type: ignore[arg-type]
                seen.update({x: y for x, y in pairs if low <= y <= high})
    return seen


@pytest.mark.parametrize("metric", [BPC, ACCURACY], ids=["bpc", "accuracy"])
def test_every_trial_of_the_history_can_be_seen_at_its_true_value(metric: Metric) -> None:
    sign = -1 if metric.higher_is_better else 1
    values = {0: 5.9, 1: 5.8, 2: 6.348, 3: 7.293, 4: 5.95, 5: math.inf, 6: 5.85, 7: 5.70}
    trials = [accurate(n, sign * v, TrialState.PRUNED if n in (2, 3, 4, 5, 7) else TrialState.COMPLETE)
              for n, v in values.items()]  # fmt: skip
    figure = pictures.history(trials, metric)
    assert drawn_values(figure, "complete") == {n: sign * values[n] for n in (0, 1, 6)}
    assert drawn_values(figure, "pruned, at its end") == {n: sign * values[n] for n in (2, 3, 4, 7)}
    lost = [line for axis in figure.axes for line in axis.get_lines() if line.get_label() == "diverged or refused"]
    assert [list(line.get_xdata()) for line in lost] == [[5]]
    low, high = figure.axes[0 if metric.higher_is_better else 1].get_ylim()
    assert high - low < 1.0, "the rest is not squeezed"


def test_a_history_without_anything_beyond_has_one_axis() -> None:
    assert len(pictures.history([accurate(0, 5.9), accurate(1, 5.8)], BPC).axes) == 1


def test_the_contour_spans_the_whole_space_and_marks_the_best() -> None:
    memory, dropout, _ = SPACE.entries
    axis = pictures.contour(MANY, BPC, memory, dropout).axes[0]
    low, high = axis.get_xlim()
    assert low < math.log(16)
    assert high > math.log(4096)
    assert [label.get_text() for label in axis.get_xticklabels()] == ["16", "64", "256", "1.02k", "4.1k"]
    best = min((t for t in MANY if t.state is TrialState.COMPLETE), key=lambda t: t.value or math.inf)
    star = next(line for line in axis.get_lines() if line.get_label() == "best")
    assert star.get_xdata()[0] == pytest.approx(math.log(best.params["SingleHead.memory"]))
    assert star.get_ydata()[0] == pytest.approx(best.params["dropout"])


def test_a_trial_that_was_pruned_early_does_not_squeeze_the_history() -> None:
    _, axis = pictures.history(MANY, BPC).axes
    complete = [t.value for t in MANY if t.state is TrialState.COMPLETE and t.value]
    assert axis.get_ylim()[1] < max(complete) + 1.5 * (max(complete) - min(complete))


@pytest.mark.parametrize(
    ("value", "text"), [(60_000, "60k"), (2_500_000, "2.5M"), (1024, "1.02k"), (0.5, "0.5"), (100, "100"), (1e7, "10M")]
)
def test_a_tick_loses_the_zeros_behind_its_point_and_no_others(value: float, text: str) -> None:
    assert plots.tick(value) == text

"""One name for a variant beside several tasks."""

import pytest

from rnnlab.views.task_rows import rows_of, slug


@pytest.mark.parametrize(
    ("names", "rows"),
    [
        (["parity/cells/lstm", "parity/cells/lstm_last"], ["lstm", "lstm_last"]),
        (["lstm-parity", "gru-parity"], ["lstm", "gru"]),
        (["parity_lstm"], ["lstm"]),
        (["runs/Parity/lstm", "runs/Parity/gru"], ["lstm", "gru"]),
        (["parity"], ["parity"]),
        (["parity", "Parity/parity"], ["parity", "Parity/parity"]),
    ],
)
def test_a_row_is_called_what_tells_it_from_the_others_of_its_task(names: list[str], rows: list[str]) -> None:
    assert rows_of("Parity", {name: {} for name in names}) == dict(zip(rows, names, strict=True))


def test_a_study_says_what_its_variant_is_called() -> None:
    facts = {"x/1": {"variant": "GRU (core_swap) (parity)"}, "x/2": {"variant": "LSTM (core_swap) (parity)"}}
    assert rows_of("Parity", facts) == {"GRU (core_swap)": "x/1", "LSTM (core_swap)": "x/2"}


def test_a_name_of_a_task_becomes_one_of_a_file() -> None:
    assert slug("RecallAtDistance") == "recall_at_distance"

"""What differs between two configurations."""

from pathlib import Path

from rnnlab.config import diff, format_differences, resolve


class TestDiff:
    def test_of_equal_configurations_is_empty(self, lab: Path) -> None:
        assert diff(resolve(["sha_rnn"]), resolve(["sha_rnn"], ["Trainer.rate = 0.001"])) == []

    def test_shows_what_a_macro_changes_and_not_the_macro(self, lab: Path) -> None:
        rows = diff(resolve(["sha_rnn"]), resolve(["sha_rnn"], ["dropout = 0.2"]))
        assert [(row.key, row.left, row.right) for row in rows] == [("Block.dropout", "0.1", "0.2")]

    def test_follows_defaults(self, lab: Path) -> None:
        rows = diff(resolve(["sha_rnn"]), resolve(["sha_rnn", "train/fast"]))
        assert [(row.key, row.left, row.right) for row in rows] == [
            ("Trainer.batch_size", "16", "4"),
            ("Trainer.rate", "0.001", "0.01"),
        ]

    def test_follows_wider_scopes(self, lab: Path) -> None:
        left = resolve(["sha_rnn"], ["sha/Block.dropout = 0.5"])
        right = resolve(["sha_rnn"], ["dropout = 0.5"])
        assert [(row.key, row.left, row.right) for row in diff(left, right)] == [("Block.dropout", "0.1", "0.5")]

    def test_of_swapped_parts_shows_the_swap_and_all_that_each_of_them_has_by_binding_or_default(
        self, lab: Path
    ) -> None:
        rows = diff(resolve(["sha_rnn", "size/tiny"]), resolve(["sha_rnn", "size/tiny", "core/qrnn"]))
        assert [(row.key, row.left, row.right, row.is_default) for row in rows] == [
            ("Block.core", "@core.LSTM", "@core.QRNN", False),
            ("core.LSTM.dropconnect", "0.0", None, False),
            ("core.QRNN.width", None, "2", False),
        ]
        unbound = diff(resolve(["sha_rnn"]), resolve(["sha_rnn"], ["Block.core = @core.QRNN"]))
        assert ("core.QRNN.width", None, "1", True) in [(r.key, r.left, r.right, r.is_default) for r in unbound]
        assert "core.QRNN.width        - -> 1  (default)\n" in format_differences(unbound)

    def test_of_swapped_parts_shows_what_is_bound_to_a_default(self, lab: Path) -> None:
        variant = resolve(["sha_rnn", "core/qrnn"], ["QRNN.width = 1"])
        rows = diff(resolve(["sha_rnn"]), variant)
        assert ("core.QRNN.width", None, "1", False) in [(r.key, r.left, r.right, r.is_default) for r in rows]

    def test_is_symmetric(self, lab: Path) -> None:
        left, right = (
            resolve(["sha_rnn"]),
            resolve(["sha_rnn", "core/qrnn", "attention/none"], ["Trainer.device = 'cpu'"]),
        )
        mirrored = [(row.key, row.right, row.left) for row in diff(right, left)]
        assert [(row.key, row.left, row.right) for row in diff(left, right)] == mirrored

    def test_is_printed_a_line_a_key(self, lab: Path) -> None:
        rows = diff(resolve(["sha_rnn"]), resolve(["sha_rnn", "attention/none"]))
        assert format_differences(rows) == (
            "attention.SingleHead.memory  5000 -> -\nsha/Block.attention          @attention.SingleHead -> None\n"
        )
        assert format_differences([]) == ""

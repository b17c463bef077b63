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

    def test_of_swapped_parts_shows_the_swap_and_what_is_bound_on_one_side(self, lab: Path) -> None:
        rows = diff(resolve(["sha_rnn", "size/tiny"]), resolve(["sha_rnn", "size/tiny", "core/qrnn"]))
        assert [(row.key, row.left, row.right, row.is_default) for row in rows] == [
            ("Block.core", "@core.LSTM", "@core.QRNN", False),
            ("core.QRNN.width", None, "2", False),
        ]

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

    def test_of_swapped_parts_shows_a_default_by_which_they_differ(self) -> None:
        root = ["sha_rnn", "size/tiny"]
        variant = resolve(root, ["Trainer.optimizer = @optimizer.AdamW"])
        rows = {row.key: row for row in diff(resolve(root), variant)}
        assert (rows["optimizer.Muon.lr"].is_default, rows["optimizer.AdamW.lr"].is_default) == (False, True)
        assert rows["optimizer.AdamW.lr"].left is None
        assert f"- -> {rows['optimizer.AdamW.lr'].right}  (default)\n" in format_differences(list(rows.values()))
        assert "optimizer.AdamW.eps" not in rows, "it is the same on both sides, or of one part alone"
        bound = diff(resolve(root), variant.override("AdamW.lr = 0.001"))
        assert rows["optimizer.AdamW.lr"] in bound, "bound to its default or not"

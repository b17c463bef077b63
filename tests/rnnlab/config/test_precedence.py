"""Which binding wins."""

import itertools
from pathlib import Path

import pytest

from rnnlab.config import Precedence, resolve
from rnnlab.errors import ConfigError
from tests.rnnlab.config.resolving import build, refusal, write


class TestPrecedence:
    @pytest.mark.slow
    def test_the_order_on_the_command_line_does_not_matter_across_ranks(self, lab: Path) -> None:
        names = ["sha_rnn", "size/tiny", "train/fast", "core/qrnn", "memory/2k"]
        texts = {resolve(order).text for order in itertools.permutations(names)}
        assert len(texts) == 1

    def test_size_beats_root_and_train_beats_size_and_parts_beat_train(self, lab: Path) -> None:
        write(lab / "size/odd.gin", "Trainer.batch_size = 1\nTrainer.rate = 0.1\nTrainer.device = 'size'")
        write(lab / "train/odd.gin", "Trainer.rate = 0.2\nTrainer.device = 'train'")
        write(lab / "zoo/odd.gin", "Trainer.device = 'zoo'")
        config = resolve(["zoo/odd", "train/odd", "size/odd", "sha_rnn"])
        assert [config.value(f"Trainer.{name}") for name in ("batch_size", "rate", "device")] == [1, 0.2, "zoo"]

    def test_the_recipe_of_a_task_gives_way_to_parts_and_may_be_without_effect(self, lab: Path) -> None:
        write(lab / "task/odd.gin", "Trainer.device = 'task'\nTrainer.rate = 0.2\nQRNN.width = 2")
        write(lab / "zoo/odd.gin", "Trainer.device = 'zoo'")
        config = resolve(["zoo/odd", "task/odd", "sha_rnn"])
        assert [config.value(f"Trainer.{name}") for name in ("rate", "device")] == [0.2, "zoo"]
        build(config)  # an LSTM stands there

    @pytest.mark.parametrize("fragments", [["task/parity", "data/text8"], ["data/text8", "task/parity"]])
    def test_a_task_and_a_text_cannot_both_be_learned_from(self, fragments: list[str]) -> None:
        with pytest.raises(ConfigError, match=r"cannot both set it.*Trainer\.source"):
            resolve(["sha_rnn", "size/tiny", *fragments])
        resolve(["sha_rnn", "size/tiny", *fragments], ["Trainer.source = @task.Parity"])

    def test_within_a_folder_the_later_fragment_wins(self, lab: Path) -> None:
        assert resolve(["sha_rnn", "memory/2k", "memory/512"]).value("memory") == 512
        assert resolve(["sha_rnn", "memory/512", "memory/2k"]).value("memory") == 2048

    def test_overrides_beat_files_of_the_user_which_beat_fragments(self, lab: Path) -> None:
        write(Path("mine.gin"), "dropout = 0.3\nTrainer.batch_size = 2")
        config = resolve(["mine.gin", "sha_rnn", "dropout/low", "train/fast"], ["Trainer.batch_size = 1"])
        assert (config.value("dropout"), config.value("Trainer.batch_size")) == (0.3, 1)

    def test_the_later_override_wins(self, lab: Path) -> None:
        assert resolve(["sha_rnn"], ["dropout = 0.2", "dropout = 0.4"]).value("Block.dropout") == 0.4

    def test_two_folders_that_disagree_are_refused_in_either_order(self, lab: Path) -> None:
        for order in (["dropout/low", "recipe/none"], ["recipe/none", "dropout/low"]):
            message = refusal(["sha_rnn", *order])
            assert "dropout/low.gin:1" in message
            assert "recipe/none.gin:1" in message

    def test_two_folders_may_disagree_on_what_an_override_decides(self, lab: Path) -> None:
        assert resolve(["sha_rnn", "dropout/low", "recipe/none"], ["dropout = 0.4"]).value("dropout") == 0.4

    def test_two_folders_that_agree_are_accepted(self, lab: Path) -> None:
        assert resolve(["sha_rnn", "dropout/low", "recipe/low"]).value("dropout") == 0.05

    def test_two_folders_disagree_with_an_int_and_an_equal_float(self, lab: Path) -> None:
        write(lab / "odd/zero.gin", "dropout = 0")
        assert "odd/zero.gin:1" in refusal(["sha_rnn", "recipe/none", "odd/zero"])

    def test_a_user_file_with_a_model_is_a_root_and_gives_way_to_a_size(self, lab: Path) -> None:
        write(Path("mine.gin"), "include 'sha_rnn'\nLanguageModel.dim = 7")
        assert resolve(["mine.gin"]).value("LanguageModel.dim") == 7
        assert resolve(["mine.gin", "size/tiny"]).value("LanguageModel.dim") == 64
        assert {binding.precedence for binding in resolve(["mine"]).bindings.values()} == {Precedence.ROOT}

    def test_an_include_never_undoes_the_including_file(self, lab: Path) -> None:
        write(Path("mine.gin"), "dropout = 0.7\nLanguageModel.dim = 7\ninclude 'sha_rnn.gin'")
        config = resolve(["mine.gin"])
        assert (config.value("dropout"), config.value("LanguageModel.dim")) == (0.7, 7)

    def test_an_included_file_has_the_rank_of_what_includes_it(self, lab: Path) -> None:
        write(lab / "core/mine.gin", "include 'train/fast.gin'")
        config = resolve(["sha_rnn", "core/mine"])
        binding = config.get("Trainer.batch_size")
        assert binding is not None
        assert (binding.value, binding.precedence, binding.location) == (4, Precedence.PART, "train/fast.gin:1")

    @pytest.mark.parametrize("given", ["sha_rnn", ["sha_rnn"]])
    def test_one_fragment_or_binding_may_stand_by_itself(self, lab: Path, given: object) -> None:
        assert resolve(given, "dropout = 0.4").text == resolve(["sha_rnn"], ["dropout = 0.4"]).text  # type: ignore[arg-type]

    def test_what_a_size_replaces_in_a_root_of_the_user_is_said(
        self, lab: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        write(Path("mine.gin"), "include 'sha_rnn.gin'\nLanguageModel.dim = 48\nTrainer.batch_size = 3")
        resolve(["mine.gin", "size/tiny"])
        told = capsys.readouterr().err
        assert told.startswith("rnnlab: mine.gin: sizes and recipes win over a root: ")
        assert "LanguageModel.dim = " in told
        assert "for 48" in told
        resolve(["sha_rnn", "size/tiny"])
        assert capsys.readouterr().err == "", "over a root that ships a size wins by design"


class TestBudgets:
    """Against roots that ship: a budget on the command line is the one that counts."""

    def budgets(self, *overrides: str, file: str = "Trainer.epochs = 2\nTrainer.steps = 5\n") -> list[object]:
        write(Path("mine.gin"), file)
        config = resolve(["sha_rnn", "size/tiny", "mine.gin"], overrides)
        return [config.value(f"Trainer.{name}") for name in ("bytes", "steps", "epochs")]

    def test_of_the_command_line_takes_the_place_of_those_in_files(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        assert self.budgets("Trainer.bytes = 640") == [640, None, None]
        assert self.budgets("Trainer.epochs = 7") == [None, None, 7]
        assert self.budgets("Trainer.bytes = 640", "Trainer.steps = 9") == [640, 9, None]

    def test_of_files_stand_beside_each_other(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        assert self.budgets()[1:] == [5, 2]

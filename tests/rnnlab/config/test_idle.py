"""Bindings without effect."""

from pathlib import Path

from rnnlab.config import resolve
from tests.rnnlab.config.resolving import build, refusal, refused_at_build, write


class TestIdle:
    def test_roots_and_sizes_may_hold_defaults_for_parts_that_are_swapped_out(self, lab: Path) -> None:
        config = resolve(["sha_rnn", "size/tiny", "core/qrnn", "attention/none"])
        build(config)
        assert config.get("LSTM.dropconnect") is None
        assert config.get("memory") is None

    def test_a_fragment_that_was_asked_for_must_have_something_to_act_on(self, lab: Path) -> None:
        message = refusal(["sha_rnn", "attention/none", "memory/2k"])
        assert message.startswith("memory/2k.gin:1: `memory = 2048`: no binding in use refers to %memory")

    def test_an_argument_that_the_model_gives_itself_is_refused_after_building(self, lab: Path) -> None:
        message = refused_at_build(resolve(["sha_rnn"], ["LSTM.dim = 8"]))
        assert "--set: `core.LSTM.dim = 8` has no effect" in message
        assert "gives it 'dim' itself" in message

    def test_a_binding_that_narrower_ones_replace_everywhere_is_refused(self, lab: Path) -> None:
        write(
            Path("mine.gin"),
            "LanguageModel.blocks = [@a/Block, @b/Block]\na/Block.dropout = 0.1\nb/Block.dropout = 0.2",
        )
        config = resolve(
            ["mine.gin", "core/lstm"], ["Block.dropout = 0.3", "LanguageModel.dim = 8", "Trainer.batch_size = 1"]
        )
        assert "narrower scopes take its place" in refused_at_build(config)

    def test_a_scope_that_was_referred_to_but_never_built_is_refused(self, lab: Path) -> None:
        overrides = ["Trainer.schedule = @later/schedule.Cosine", "later/Cosine.warmup = 3"]
        assert "no schedule.Cosine was built" in refused_at_build(resolve(["sha_rnn"], overrides))

    def test_a_part_built_in_another_scope_is_told(self, lab: Path) -> None:
        overrides = ["LanguageModel.blocks = [@a/Block]", "Trainer.anything = @b/Block", "b/LSTM.dropconnect = 0.1"]
        assert "core.LSTM was built in 'a', not in 'b'" in refused_at_build(resolve(["sha_rnn"], overrides))

    def test_a_macro_used_by_idle_bindings_only_is_refused(self, lab: Path) -> None:
        overrides = ["warm = 5", "Trainer.schedule = @schedule.Cosine", "Cosine.warmup = %warm"]
        message = refused_at_build(resolve(["sha_rnn"], overrides))
        assert "`warm = 5` has no effect: no binding that took effect refers to %warm" in message

    def test_a_macro_of_a_macro_counts_as_used(self, lab: Path) -> None:
        model, _ = build(resolve(["sha_rnn"], ["half = 0.25", "dropout = %half"]))
        assert model.blocks[0].dropout == 0.25

    def test_all_idle_bindings_are_told_at_once(self, lab: Path) -> None:
        overrides = ["LSTM.dim = 8", "Block.dim = 8", "SingleHead.dim = 8"]
        assert len(refused_at_build(resolve(["sha_rnn"], overrides)).splitlines()) == 3

    def test_fragments_without_a_root_are_read_as_they_are(self, lab: Path) -> None:
        assert resolve(["memory/2k", "core/qrnn"]).value("memory") == 2048

"""What is built, and what is said of a part that cannot be."""

from pathlib import Path

import gin
import pytest

from rnnlab.config import resolve
from rnnlab.config.parser import parse
from rnnlab.errors import ConfigError, DataError
from tests.rnnlab.config.resolving import build, refused_at_build, write


class TestBuilding:
    def test_bindings_macros_and_scopes_reach_the_parts(self, lab: Path) -> None:
        model, trainer = build(resolve(["sha_rnn", "size/tiny", "memory/2k"], ["sha/LSTM.dropconnect = 0.4"]))
        plain, attending = model.blocks
        assert (plain.attention, attending.attention.memory) == (None, 2048)
        assert (plain.core.dropconnect, attending.core.dropconnect) == (0.0, 0.4)
        assert (plain.core.dim, plain.dropout, trainer.batch_size) == (64, 0.1, 16)

    def test_explicit_arguments_win(self, lab: Path) -> None:
        config = resolve(["sha_rnn"])
        with config.activate():
            assert config.construct("Trainer", batch_size=3).batch_size == 3
            assert config.construct("core.LSTM", 5).dim == 5

    def test_a_called_reference_is_called_in_the_scope_of_its_user(self, lab: Path) -> None:
        _, trainer = build(
            resolve(["sha_rnn"], ["plan = @schedule.Cosine()", "Trainer.anything = %plan", "Cosine.warmup = 9"])
        )
        assert trainer.anything.warmup == 9

    def test_nothing_stays_bound_whatever_happens(self, lab: Path) -> None:
        config = resolve(["sha_rnn"])
        interrupted = pytest.raises(KeyboardInterrupt)
        with interrupted, config.activate():
            gin.finalize()  # locks
            raise KeyboardInterrupt
        assert not gin.config._CONFIG
        assert not gin.config_is_locked()
        build(config)

    def test_what_was_bound_before_does_not_leak_in(self, lab: Path) -> None:
        gin.bind_parameter("Trainer.rate", 0.5)
        _, trainer = build(resolve(["sha_rnn"]))
        assert trainer.rate == 1e-3

    def test_a_refused_value_is_told_with_the_place_it_was_bound(self, lab: Path) -> None:
        message = refused_at_build(resolve(["sha_rnn"], ["LSTM.dropconnect = 1.5"]))
        assert message == "LSTM.dropconnect = 1.5: a probability in [0, 1) is needed (--set)"

    def test_a_refused_value_from_a_macro_is_told_with_both_places(self, lab: Path) -> None:
        write(Path("mine.gin"), "much = 2.0\nsha/LSTM.dropconnect = %much")
        assert refused_at_build(resolve(["sha_rnn", "mine"])).endswith("(mine.gin:1, through mine.gin:2)")

    def test_a_refused_value_of_an_outer_part_is_told_with_its_place(self, lab: Path) -> None:
        overrides = ["Block.core = @core.Picky", "Picky.taste = 'x'", "Picky.mood = 'outside'"]
        assert refused_at_build(resolve(["sha_rnn"], overrides)).endswith(
            "(train/base.gin:2, through train/base.gin:6)"
        )

    def test_a_required_argument_that_is_not_bound_is_named(self, lab: Path) -> None:
        message = refused_at_build(resolve(["sha_rnn"], ["Block.core = @core.Picky"]))
        assert message == "core.Picky needs 'taste' (--set refers to it); bind core.Picky.taste = ..."

    def test_a_part_in_a_slot_that_it_does_not_fit_is_named(self, lab: Path) -> None:
        message = refused_at_build(resolve(["sha_rnn"], ["Block.core = @core.Lonely"]))
        assert message.startswith(
            "core.Lonely does not fit the slot that it is bound to (--set refers to it): it takes 1"
        )

    def test_a_value_error_of_a_part_is_a_configuration_error(self, lab: Path) -> None:
        config = resolve(["sha_rnn"], ["Block.core = @core.Picky", "Picky.taste = 'x'", "Picky.mood = 'value'"])
        with pytest.raises(ConfigError, match=r"^core.Picky: mood is out of range \(--set\)$") as caught:
            build(config)
        assert isinstance(caught.value.__cause__, ValueError)

    def test_other_errors_for_users_keep_their_kind(self, lab: Path) -> None:
        config = resolve(["sha_rnn"], ["Block.core = @core.Picky", "Picky.taste = 'x'", "Picky.mood = 'data'"])
        with pytest.raises(DataError, match="the corpus is gone"):
            build(config)

    def test_a_bug_in_a_part_comes_out_as_it_was_raised(self, lab: Path) -> None:
        config = resolve(["sha_rnn"], ["Block.core = @core.Picky", "Picky.taste = 'x'", "Picky.mood = 'bug'"])
        with pytest.raises(KeyError) as caught:
            build(config)
        assert type(caught.value) is KeyError
        assert caught.value.args == ("mood",)
        assert caught.value.__notes__ == ["while building core.Picky"]

    def test_an_error_outside_the_parts_passes_untouched(self, lab: Path) -> None:
        error = ValueError("mine")
        with pytest.raises(ValueError, match="mine") as caught, resolve(["sha_rnn"]).activate():
            raise error
        assert caught.value is error

    def test_the_operative_text_tells_every_value_and_its_origin(self, lab: Path) -> None:
        config = resolve(["sha_rnn", "size/tiny"], ["Trainer.rate = 0.5"])
        build(config)
        lines = config.operative_text.splitlines()
        assert "sha/attention.SingleHead.memory = 256  # train/base.gin:7, %memory" in lines
        assert "Trainer.rate = 0.5  # --set" in lines
        assert "Trainer.precision = 'fp32'  # default" in lines
        assert parse(config.operative_text, "operative.gin")  # it is gin

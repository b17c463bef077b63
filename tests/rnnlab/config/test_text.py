"""A configuration as text: it resolves to itself."""

import pickle
from pathlib import Path

import pytest

from rnnlab.config import Reference, load, resolve
from rnnlab.errors import ConfigError
from tests.rnnlab.config.resolving import build, values, write


class TestText:
    def test_resolves_to_itself(self, lab: Path) -> None:
        config = resolve(
            ["sha_rnn", "size/tiny", "core/qrnn"], ["Trainer.betas = (0.5, 1e-9)", "Trainer.names = ['a']"]
        )
        Path("config.gin").write_text(config.text)
        for again in (load("config.gin"), resolve(["config.gin"])):
            assert (again.text, again.sha, values(again)) == (config.text, config.sha, values(config))

    def test_is_a_sorted_line_a_binding_with_selectors_in_full(self, lab: Path) -> None:
        lines = resolve(["sha_rnn"]).text.splitlines()
        assert lines == sorted(lines)
        assert "attention.SingleHead.memory = %memory" in lines
        assert "LanguageModel.blocks = [@Block, @sha/Block]" in lines

    def test_its_hash_follows_the_bindings_and_not_how_they_were_written(self, lab: Path) -> None:
        write(Path("mine.gin"), "Trainer.rate = 1e-2  # fast\nTrainer:\n  batch_size = 0x4")
        assert resolve(["sha_rnn", "mine"]).sha == resolve(["sha_rnn", "train/fast"]).sha
        assert resolve(["sha_rnn"]).sha != resolve(["sha_rnn"], ["dropout = 0.100001"]).sha

    def test_a_loaded_configuration_may_be_idle_and_its_overrides_may_not(self, lab: Path) -> None:
        Path("config.gin").write_text(resolve(["sha_rnn", "core/qrnn", "memory/2k"]).text)
        build(load("config.gin").override(["sha/Block.attention = None"]))
        with pytest.raises(ConfigError, match=r"nothing refers to @core\.LSTM"):
            load("config.gin").override(["LSTM.dropconnect = 0.1"])

    def test_an_override_on_top_reaches_what_was_left_out(self, lab: Path) -> None:
        without = resolve(["sha_rnn", "attention/none"])
        assert without.get("memory") is None
        assert without.override(["attention = @attention.SingleHead"]).value("SingleHead.memory") == 5000

    def test_a_configuration_travels_to_another_process(self, lab: Path) -> None:
        config = resolve(["sha_rnn"], ["dropout = 0.4"])
        build(config)
        assert pickle.loads(pickle.dumps(config)).override(["dropout = 0.5"]).value("Block.dropout") == 0.5

    def test_values_are_found_by_short_and_full_keys(self, lab: Path) -> None:
        config = resolve(["sha_rnn"])
        assert config.value("SingleHead.memory") == config.value("attention.SingleHead.memory") == 5000
        assert config.value("Trainer.bytes") is None
        assert config.value("Trainer.rate", 7) == 7
        assert config.value("sha/Block.attention") == Reference("", "attention.SingleHead")
        with pytest.raises(ConfigError, match="did you mean 'Trainer'"):
            config.value("Trianer.bytes")

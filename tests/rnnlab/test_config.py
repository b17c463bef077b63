"""Configurations: what wins, what is refused and how it is told, what is built, what differs."""

import itertools
import math
import pickle
import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Annotated, Any, Literal, NewType, TypeVar

import gin
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rnnlab import config as configuration
from rnnlab.config import Config, Macro, Precedence, Reference, diff, format_differences, format_value, load, resolve
from rnnlab.config.checks import describe, fits
from rnnlab.config.parser import LARGEST_FILE, Assignment, parse
from rnnlab.errors import ConfigError, DataError
from tests.rnnlab.small_lab import FRAGMENTS, open_lab


@pytest.fixture
def lab(empty_registry: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The small laboratory with its fragments; the working folder is an empty one. Returns the folder of fragments."""
    open_lab()
    folder = tmp_path / "shelf"
    for name, text in FRAGMENTS.items():
        write(folder / name, text)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setattr("rnnlab.config.sources.config_folder", lambda: folder)
    return folder


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text))
    return path


def values(config: Config) -> dict[str, Any]:
    return {key: config.expanded(binding) for key, binding in config.bindings.items()}


def build(config: Config) -> tuple[Any, Any]:
    """The model and the trainer, audited."""
    with config.activate():
        built = config.construct("LanguageModel"), config.construct("Trainer")
        config.audit()
        return built


def refusal(*arguments: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        resolve(*arguments)
    message = str(caught.value)
    assert len(message.splitlines()) <= 2, message
    return message


def refused_at_build(config: Config) -> str:
    with pytest.raises(ConfigError) as caught:
        build(config)
    return str(caught.value)


class TestPrecedence:
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


class TestLookUp:
    def test_a_file_here_comes_before_a_fragment_of_that_name(self, lab: Path) -> None:
        write(Path("memory/2k.gin"), "memory = 3")
        assert resolve(["sha_rnn", "memory/2k"]).value("memory") == 3

    def test_the_suffix_may_be_written_or_not(self, lab: Path) -> None:
        assert resolve(["sha_rnn.gin", "core/qrnn"]).text == resolve(["sha_rnn", "core/qrnn.gin"]).text

    def test_a_fragment_named_by_its_path_keeps_its_rank(self, lab: Path) -> None:
        assert (
            resolve([str(lab / "sha_rnn.gin"), str(lab / "core/qrnn.gin")]).text
            == resolve(["sha_rnn", "core/qrnn"]).text
        )

    @pytest.mark.parametrize(
        ("name", "told"),
        [
            ("core/qrn", "did you mean 'core/qrnn'"),
            ("SHA_RNN", "did you mean 'sha_rnn'"),
            ("zzzzzzz", "those that ship: attention/none"),
            ("dropout=0.2", "--set"),
            ("..", "is a folder"),
            ("a\0b", "no fragment"),
            ("", "no fragment"),
            ("x" * 5000, "no fragment"),
        ],
    )
    def test_an_unknown_fragment_is_answered_with_what_was_meant(self, lab: Path, name: str, told: str) -> None:
        assert told in refusal(["sha_rnn", name])

    def test_every_shipped_fragment_is_listed(self) -> None:
        names = configuration.fragments()
        assert "sha_rnn" in names
        assert all((configuration.config_folder() / f"{name}.gin").is_file() for name in names)


class TestIncludes:
    def test_are_relative_to_the_including_file_first(self, lab: Path) -> None:
        write(Path("mine.gin"), "include 'sub/a.gin'")
        write(Path("sub/a.gin"), "include 'b.gin'")
        write(Path("sub/b.gin"), "include 'sha_rnn'\ndropout = 0.6")
        assert resolve(["mine.gin"]).value("dropout") == 0.6

    @pytest.mark.parametrize("include", ["../secret.gin", "/etc/passwd", "sub/../../secret.gin", "link.gin"])
    def test_never_leave_the_folder_of_the_users_file(self, lab: Path, tmp_path: Path, include: str) -> None:
        write(tmp_path / "secret.gin", "dropout = 0.9")
        Path("link.gin").symlink_to(tmp_path / "secret.gin")
        write(Path("mine.gin"), f"dropout = 0.1\ninclude {include!r}")
        message = refusal(["sha_rnn", "mine.gin"])
        assert message.startswith(f"mine.gin:2: include {include!r} leaves")

    def test_of_a_fragment_never_leave_the_shelf(self, lab: Path) -> None:
        write(Path("mine.gin"), "dropout = 0.9")
        write(lab / "core/bad.gin", f"include {str(Path('mine.gin').resolve())!r}")
        assert "core/bad.gin:1" in refusal(["sha_rnn", "core/bad"])

    def test_that_are_missing_are_named_with_the_nearest(self, lab: Path) -> None:
        write(Path("mine.gin"), "\ninclude 'core/qrn.gin'")
        message = refusal(["mine"])
        assert message.startswith("mine.gin:2: include 'core/qrn.gin'")
        assert "did you mean 'core/qrnn'" in message

    def test_in_a_circle_are_refused(self, lab: Path) -> None:
        write(Path("a.gin"), "include 'b.gin'")
        write(Path("b.gin"), "include 'a.gin'")
        assert "b.gin:1: files that include each other: a.gin -> b.gin -> a.gin" in refusal(["a"])

    def test_that_multiply_are_refused(self, lab: Path) -> None:
        for level in range(10):
            write(Path(f"f{level}.gin"), f"include 'f{level + 1}.gin'\ninclude 'f{level + 1}.gin'")
        write(Path("f10.gin"), "dropout = 0.1")
        assert "f0.gin: it includes more than" in refusal(["f0"])

    def test_the_later_of_two_wins(self, lab: Path) -> None:
        write(Path("mine.gin"), "include 'sha_rnn'\ninclude 'memory/2k'\ninclude 'memory/512'")
        assert resolve(["mine"]).value("memory") == 512


class TestRefusals:
    @pytest.mark.parametrize(
        ("line", "told"),
        [
            ("LSMT.dropconnect = 0.1", "did you mean 'LSTM'"),
            ("lstm.dropconnect = 0.1", "did you mean 'LSTM'"),
            ("cores.LSTM.dropconnect = 0.1", "did you mean 'core.LSTM'"),
            ("gin.macro.value = 1", "'gin.macro'"),
            ("LSTM.dropconect = 0.1", "did you mean 'dropconnect'"),
            ("LSTM.zzz = 0.1", "it takes dim, dropconnect"),
            ("Block.core = @core.LSMT", "did you mean 'core.LSTM'"),
            ("Block.core = @gin.singleton()", "'gin.singleton'"),
            ("Block.core = @core.LSTM()()", "expected one value"),
            ("Block.dropout = %dropuot", "did you mean 'dropout'"),
            ("Block.dropout = %gin.REQUIRED", "no macro %gin.REQUIRED"),
            ("dropuot = 0.2", "did you mean 'dropout'"),
            ("sah/Block.dropout = 0.2", "did you mean 'sha'"),
            ("sha/sha/Block.dropout = 0.2", "scope 'sha/sha'"),
            ("QRNN.width = 2", "nothing refers to @core.QRNN"),
            ("Trainer.batch_size = 'eight'", "batch_size takes an int, not the str 'eight'"),
            ("Trainer.batch_size = 8.0", "not the float 8.0"),
            ("Trainer.batch_size = True", "not True"),
            ("Trainer.batch_size = None", "not None"),
            ("Trainer.batch_size = @core.LSTM", "not @core.LSTM"),
            ("Trainer.rate = '1e-3'", "rate takes a number"),
            ("Trainer.jitter = 1", "jitter takes True or False"),
            ("Trainer.device = 0", "device takes a string"),
            ("Trainer.bytes = 0.5", "bytes takes an int or None"),
            ("Trainer.precision = 'fp23'", "'fp32' or 'bf16', not the str 'fp23'; did you mean 'fp32'"),
            ("Trainer.betas = (0.9,)", "betas takes a tuple"),
            ("Trainer.betas = [0.9, 0.99]", "betas takes a tuple"),
            ("Trainer.names = ['a', 1]", "names takes a list of a string or None"),
            ("Trainer.space = ['a']", "space takes a Mapping"),
            ("LanguageModel.blocks = @Block", "blocks takes a list of a reference"),
            ("LanguageModel.blocks = [@Block, 3]", "blocks takes a list of a reference"),
            ("Block.core = 'core.LSTM'", "core takes a reference"),
            ("Block.core = None", "core takes a reference"),
            ("Block.attention = @core.LSTM", "not of kind core; there are @attention.SingleHead"),
            ("dropout = 'high'", "Block.dropout"),
            ("attention = 3", "sha/Block.attention"),
            ("dropout = %dropout", "macros in a circle: %dropout -> %dropout"),
            ("import os", "imports nothing"),
            ("from os import path", "imports nothing"),
            ("Trainer.rate", "Couldn't parse"),
            ("Trainer.rate = 2**10", "expected one value"),
            ("Trainer.rate = 1; Trainer.batch_size = 2", "expected one value"),
            ("Trainer.rate = 1 Trainer.batch_size = 2", "expected one value"),
            ("Trainer.rate = -%dropout", "a minus sign"),
            ("Trainer.rate = -@core.LSTM", "a minus sign"),
            ("Trainer.rate = inf", "`inf` is no number"),
            ("Trainer.rate = 010", "mine.gin:9"),
            ("Trainer.device = '\\q'", "is no number, string"),
            ("Trainer.rate = 3j", "complex"),
            ("Trainer.rate = f'x'", "mine.gin:9"),
            ("Trainer.batch_size = 0x1" + "0" * 16, "64 bits"),
            ("Trainer.batch_size = " + "9" * 5000, "is no number"),
            ("Trainer.space = {'a': 1, 'a': 2}", "'a' stands twice"),
            ("Trainer.space = {[1]: 2}", "plain literal"),
            ("Trainer.space = {@core.LSTM: 2}", "plain literal"),
            ("Trainer.names = [" + "[" * 2000, "nested more than"),
            ("Trainer.names = " + "(" * 2000 + ")" * 2000, "nested"),
            ("Trainer.names = ['a'", "not closed"),
            ("Trainer.device = 'cpu", "9:"),
            ("Trainer.device = '''cpu", "not closed"),
            ("Trainer..rate = 1", "alformatted"),
            ("Trainer.rate == 1", "Couldn't parse"),
            ("?", "9:"),
            ("\x00", "mine.gin"),
            ("  Trainer.rate = 1\n Trainer.batch_size = 2", "mine.gin"),
            ("Trainer:\n  rate = 0.1\n  rate = 0.2", "the same key stands at mine.gin:10"),
            ("Trainer.device = 'cpu'\nTrainer.device = 'cpu'", "the same key stands at mine.gin:9"),
            ("Trainer.device = 'cpu'\nrnnlab.Trainer.device = 'cpu'", "no part or class 'rnnlab.Trainer'"),
            ("core.LSTM.dropconnect = 0.1\nLSTM.dropconnect = 0.2", "the same key stands at mine.gin:9"),
        ],
    )
    def test_a_bad_line_is_refused_with_its_place_and_remedy(self, lab: Path, line: str, told: str) -> None:
        write(Path("mine.gin"), "# a file with a fault in its ninth line\n" + "\n" * 7)
        with Path("mine.gin").open("a") as file:
            file.write(line + "\n")
        message = refusal(["sha_rnn", "mine.gin"])
        assert told in message
        assert re.match(r"(mine\.gin(:9|:10|:11|:)|train/base\.gin:|sha_rnn\.gin:)", message), message

    def test_the_same_misspellings_in_a_root_are_refused_too(self, lab: Path) -> None:
        for line, told in (
            ("dropuot = 0.2", "did you mean 'dropout'"),
            ("sah/Block.dropout = 0.2", "did you mean 'sha'"),
            ("LSTM.dropconect = 0.1", "did you mean 'dropconnect'"),
        ):
            write(Path("mine.gin"), f"include 'sha_rnn'\n{line}")
            message = refusal(["mine.gin"])
            assert message.startswith("mine.gin:2")
            assert told in message

    def test_a_file_that_is_no_text_is_refused(self, lab: Path) -> None:
        Path("mine.gin").write_bytes(b"dropout = 0.1\n# \xff\xfe\n")
        assert refusal(["sha_rnn", "mine"]).startswith("mine.gin:2: not UTF-8")

    def test_a_huge_file_is_refused_unread(self, lab: Path) -> None:
        with Path("mine.gin").open("wb") as file:
            file.truncate(1 << 40)  # sparse: reading it all would take the machine down
        assert "mine.gin: more than 256 KiB" in refusal(["sha_rnn", "mine"])

    def test_a_file_of_the_largest_size_is_read(self, lab: Path) -> None:
        Path("mine.gin").write_text("dropout = 0.3\n#" + "x" * (LARGEST_FILE - 16) + "\n")
        assert resolve(["sha_rnn", "mine"]).value("dropout") == 0.3

    def test_a_byte_order_mark_and_foreign_line_ends_are_read(self, lab: Path) -> None:
        Path("mine.gin").write_bytes(b"\xef\xbb\xbfdropout = 0.3\r\nTrainer.batch_size = 2\r\n")
        assert resolve(["sha_rnn", "mine"]).value("Trainer.batch_size") == 2

    def test_macros_that_double_at_every_step_are_refused(self, lab: Path) -> None:
        lines = [f"m{level} = [%m{level + 1}, %m{level + 1}]" for level in range(60)]
        write(Path("mine.gin"), "\n".join(["Trainer.anything = %m0", *lines, "m60 = 1"]))
        assert "expand to more than" in refusal(["sha_rnn", "mine"])

    @pytest.mark.parametrize(
        ("override", "told"),
        [
            ("Block.dropout", "no `=`"),
            ("", "no `=`"),
            ("= 3", "--set '= 3'"),
            ("Block.dropout = ", "parse value"),
            ("Block.dropout = 0.1\nTrainer.batch_size = 2", "one binding"),
            ("# batch_size = 1", "one binding"),
            ("include 'a=b'", "one binding"),
            ("import os # =", "imports nothing"),
            ("Block.dropout = 0.1 0.2", "expected one value"),
            ("dropuot = 0.2", "did you mean 'dropout'"),
            ("Block.drop = 0.2", "did you mean 'dropout'"),
            ("Trainer.batch_size = 'x'", "takes an int"),
        ],
    )
    def test_a_bad_override_is_refused(self, lab: Path, override: str, told: str) -> None:
        message = refusal(["sha_rnn"], [override])
        assert message.startswith("--set")
        assert told in message

    def test_nothing_in_a_file_is_run(self, lab: Path) -> None:
        write(Path("trap.py"), "open('sprung', 'w').close()")
        for line in (
            "import trap",
            "from trap import x",
            "Trainer.rate = __import__('trap')",
            "Trainer.rate = @trap()",
        ):
            write(Path("mine.gin"), line)
            refusal(["sha_rnn", "mine"])
        assert not Path("sprung").exists()


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


LITERALS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False)
    | st.text(st.characters(codec="utf-8") | st.sampled_from("\n\r\0\u2028\ud800'\"\\"))
    | st.binary()
    | st.sampled_from(
        [Reference("", "core.LSTM"), Reference("a/b", "Block", True), Macro("dropout"), math.inf, -math.inf]
    ),
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.dictionaries(st.text() | st.integers(0, 9) | st.booleans() | st.none(), inner)
    ),
    max_leaves=20,
)


WORDS = [
    *"=@%()[]{}:,./-\n\\#'\"",
    "a",
    "B.c",
    "sha/B.c",
    " = ",
    "\n  ",
    "'s'",
    "1",
    "-2.5e3",
    "0x",
    "None",
    "True",
    "include",
]


def read_or_refusal(text: str) -> list[Any] | str:
    """The values that a text assigns, or what is said against it."""
    try:
        return [statement.value for statement in parse(text, "noise.gin") if isinstance(statement, Assignment)]
    except ConfigError as error:
        return str(error)


class TestValues:
    @settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
    @given(LITERALS)
    def test_print_back_exactly(self, value: Any) -> None:
        text = f"x = {format_value(value)}"
        assert "\n" not in text
        [statement] = parse(text, "x")
        assert repr(statement.value) == repr(value)  # type: ignore[union-attr]

    @settings(max_examples=300, deadline=None, derandomize=True)
    @given(st.lists(st.sampled_from(WORDS) | st.text(max_size=3), max_size=12))
    def test_any_text_is_read_or_refused_and_what_is_read_prints_back(self, words: list[str]) -> None:
        outcome = read_or_refusal("".join(words))
        if isinstance(outcome, str):
            assert outcome.startswith("noise.gin")
            assert len(outcome.splitlines()) == 1
            return
        for value in outcome:
            assert read_or_refusal(f"x = {format_value(value)}") == [value]

    @pytest.mark.parametrize("value", [math.nan, object(), 1j, {1, 2}])
    def test_that_no_file_can_hold_are_not_printed(self, value: Any) -> None:
        with pytest.raises(ValueError, match="no literal"):
            format_value(value)


Positions = NewType("Positions", int)
T = TypeVar("T")
LSTM = Reference("", "core.LSTM")
CALL = Reference("", "core.LSTM", evaluate=True)


@pytest.mark.parametrize(
    ("hint", "right", "wrong"),
    [
        (int, [0, -3], [1.0, True, "1", None, [1], LSTM]),
        (float, [0, 0.5, 1e999], [True, "1", None, LSTM]),
        (bool, [True, False], [0, 1, None]),
        (str, ["", "a"], [1, b"a", None, LSTM]),
        (bytes, [b"a"], ["a"]),
        (None, [None], [0]),
        (int | None, [1, None], [1.0, LSTM]),
        (Literal["a", 1], ["a", 1], ["b", True, 1.0]),
        (list[int], [[], [1]], [(1,), ["a"], 1, LSTM]),
        (list, [["a", 1]], [(1,)]),
        (tuple[int, ...], [(), (1, 2)], [[1], (1, "a")]),
        (tuple[int, str], [(1, "a")], [(1,), ("a", 1), (1, "a", 2)]),
        (Sequence[float], [[1, 2.0], (1,)], [["a"], "ab", LSTM]),
        (dict[str, int], [{}, {"a": 1}], [{1: 1}, {"a": "b"}, []]),
        (Mapping[str, Any], [{"a": None}], [{1: 1}]),
        (Callable[..., Any], [LSTM, CALL], [1, "core.LSTM", None]),
        (Callable[..., Any] | None, [LSTM, None], [1]),
        (type[Any], [LSTM], [1]),
        (Sequence[Callable[..., Any]], [[LSTM, LSTM], []], [LSTM, [1]]),
        (Annotated[int, "positions"], [1], ["a"]),
        (Positions, [1], ["a"]),
        (PurePath, [CALL], ["a", LSTM]),
        (Any, [1, None, LSTM, {}], []),
        (object, [1, LSTM], []),
        (T, [1, LSTM], []),
    ],
)
def test_types_fit_or_not(hint: Any, right: list[Any], wrong: list[Any]) -> None:
    assert [value for value in right if not fits(value, hint)] == []
    assert [value for value in wrong if fits(value, hint)] == []
    assert fits(Macro("later"), hint)
    assert describe(hint)


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
        assert [(row.key, row.left, row.right) for row in rows] == [
            ("Block.core", "@core.LSTM", "@core.QRNN"),
            ("core.QRNN.width", None, "2"),
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


class TestWhatShips:
    """The real fragments over the real parts."""

    @pytest.mark.slow
    def test_every_pair_of_fragments_from_different_folders_commutes(self) -> None:
        _, others = split_names()
        agreeing = 0
        for left, right in itertools.combinations(others, 2):
            if left.partition("/")[0] != right.partition("/")[0]:
                one, other = text_or_none(["sha_rnn", left, right]), text_or_none([right, left, "sha_rnn"])
                assert one == other, (left, right)
                agreeing += one is not None
        assert agreeing > 100

    def test_every_root_resolves_with_every_size_and_back_from_its_text(self, tmp_path: Path) -> None:
        roots, others = split_names()
        for root, size in itertools.product(roots, [name for name in others if name.startswith("size/")]):
            config = resolve([root, size])
            (tmp_path / "config.gin").write_text(config.text)
            assert load(tmp_path / "config.gin").text == config.text


def split_names() -> tuple[list[str], list[str]]:
    names = configuration.fragments()
    return [name for name in names if "/" not in name], [name for name in names if "/" in name]


def text_or_none(names: list[str]) -> str | None:
    """None where the fragments are refused together, as attention/none and a memory are."""
    try:
        return resolve(names).text
    except ConfigError:
        return None

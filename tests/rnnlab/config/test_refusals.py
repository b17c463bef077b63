"""What is refused, where, and with which remedy."""

import re
from pathlib import Path

import pytest

from rnnlab.config import resolve
from rnnlab.config.parser import LARGEST_FILE
from tests.rnnlab.config.resolving import refusal, write


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

"""The commands, in processes of their own: two compress at once, beside each other's load, and a third decompresses."""

from pathlib import Path

import pytest

from tests.processes import begin
from tests.rnnlab.codec.small import ONLINE, words


@pytest.mark.slow
@pytest.mark.parametrize("how", ["run", pytest.param("online", marks=pytest.mark.long)])
def test_two_at_once_write_one_file_and_a_third_process_reads_it(whole: Path, tmp_path: Path, how: str) -> None:
    source = words(tmp_path, 12_000 if how == "run" else 2000)
    bindings = [argument for line in ONLINE for argument in ("--set", line)]
    model = ["--run", str(whole)] if how == "run" else ["--online", "sha_rnn", "size/tiny", *bindings]
    cut = ["--streams", "200"] if how == "run" else []
    packed = [tmp_path / "a.rnn", tmp_path / "b.rnn"]
    for process in [begin("compress", source, *model, *cut, "--out", out) for out in packed]:
        process.succeed()
    assert packed[0].read_bytes() == packed[1].read_bytes()
    assert packed[0].stat().st_size < source.stat().st_size, "it is the model's work"
    run = ["--run", str(whole)] if how == "run" else []
    begin("decompress", packed[0], *run, "--out", tmp_path / "out").succeed()
    assert (tmp_path / "out").read_bytes() == source.read_bytes()


@pytest.mark.slow
def test_a_damaged_file_ends_the_command_with_the_code_for_it(whole: Path, tmp_path: Path) -> None:
    from rnnlab import cli
    from rnnlab.codec.files import compress_with_run

    compress_with_run(words(tmp_path, 200), tmp_path / "x.rnn", whole)
    data = (tmp_path / "x.rnn").read_bytes()
    for content, code in ((data[:3], 3), (b"\0" + data[1:], 3), (data[:-1], 5), (data[:60] + b"?" + data[61:], 5)):
        (tmp_path / "y.rnn").write_bytes(content)
        assert (
            cli.main(["decompress", str(tmp_path / "y.rnn"), "--run", str(whole), "--out", str(tmp_path / "o")]) == code
        )
        assert not (tmp_path / "o").exists()

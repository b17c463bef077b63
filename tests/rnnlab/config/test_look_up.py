"""Where a name is looked for, and what a file may include."""

from pathlib import Path

import pytest

from rnnlab import config as configuration
from rnnlab.config import resolve
from tests.rnnlab.config.resolving import refusal, write


class TestLookUp:
    @pytest.mark.parametrize("shadow", ["memory/2k", "memory/2k.gin"])
    def test_a_fragment_comes_before_a_file_of_its_name_which_is_said(
        self, lab: Path, shadow: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        write(Path(shadow), "memory = 3")
        assert resolve(["sha_rnn", "memory/2k"]).value("memory") == 2048
        assert capsys.readouterr().err == (
            f"rnnlab: memory/2k is the fragment that ships; for the file of that name write ./{shadow}\n"
        )
        assert resolve(["sha_rnn", f"./{shadow}"]).value("memory") == 3

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

"""The real fragments over the real parts."""

import itertools
from pathlib import Path

import pytest

from rnnlab import config as configuration
from rnnlab.config import load, resolve


class TestWhatShips:
    """The real fragments over the real parts."""

    def test_every_root_resolves_with_every_size_and_back_from_its_text(self, tmp_path: Path) -> None:
        roots, others = split_names()
        for root, size in itertools.product(roots, [name for name in others if name.startswith("size/")]):
            config = resolve([root, size])
            (tmp_path / "config.gin").write_text(config.text)
            assert load(tmp_path / "config.gin").text == config.text

    @pytest.mark.parametrize("room", ["attention", "block", "core", "feedforward", "memory", "place", "task"])
    def test_of_two_fragments_of_a_room_the_later_leaves_nothing_of_the_earlier(self, room: str) -> None:
        names = [name for name in configuration.fragments() if name.startswith(f"{room}/")]
        alone = {name: resolve(["sha_rnn", name]) for name in names}
        for earlier, later in itertools.permutations(names, 2):
            left = configuration.diff(alone[later], resolve(["sha_rnn", earlier, later]))
            assert not left, f"{later} after {earlier}"


def split_names() -> tuple[list[str], list[str]]:
    names = configuration.fragments()
    return [name for name in names if "/" not in name], [name for name in names if "/" in name]

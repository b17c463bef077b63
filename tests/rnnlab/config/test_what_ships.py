"""The real fragments over the real parts."""

import itertools
from pathlib import Path

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


def split_names() -> tuple[list[str], list[str]]:
    names = configuration.fragments()
    return [name for name in names if "/" not in name], [name for name in names if "/" in name]

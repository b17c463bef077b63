"""The variants of an ablation, and their cells: a variant with a seed, which is one run in a folder of its own."""

import hashlib
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

from rnnlab.config import Config, format_value
from rnnlab.storage.cells import Key

CELLS = "cells"
TUNING = "tuning"  # cells that settings are chosen by, and that are never compared

Setting: TypeAlias = tuple[tuple[str, Any], ...]  # gin keys with their values


def setting_text(key: str, value: Any) -> str:
    """`key = value`; a string that begins with @ or % is a reference or a macro."""
    literal = value if isinstance(value, str) and value[:1] in ("@", "%") else format_value(value)
    return f"{key} = {literal}"


def slug(name: str) -> str:
    """A name as that of a folder or a file."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", name).strip("-.") or hashlib.sha256(name.encode()).hexdigest()[:8]


@dataclass(frozen=True)
class PlannedVariant:
    """One row of the table.

    Attributes:
        bindings: what differs from the baseline, for the table; empty for the baseline.
        match_error: relative difference to the baseline's cost, of a variant that was matched.
        corpus_sha: of the text that it trains on.
        setting: what tuning gave it; empty where nothing is tuned.
        levels: of a grid, the level that it has of each factor.
        size: of a study of several sizes, the one that it has; its name says it too.
    """

    name: str
    config: Config
    bindings: tuple[str, ...] = ()
    match_error: float = 0.0
    corpus_sha: str = ""
    setting: Setting = ()
    levels: tuple[str, ...] = ()
    size: str = ""

    @property
    def shown_setting(self) -> tuple[str, ...]:
        """The setting as bindings."""
        return tuple(setting_text(key, value) for key, value in self.setting)

    @property
    def slug(self) -> str:
        """Its name as that of a folder."""
        return slug(self.name)


@dataclass(frozen=True)
class Cell:
    """A variant with a seed; its folder is named after the hashes of its configuration, seed included, and of its text,
    wherever that lies."""

    study: Path
    variant: PlannedVariant
    seed: int
    stage: str = CELLS  # the folder in the study's: CELLS or TUNING

    @property
    def name(self) -> str:
        """Of its variant; of tuning with the setting."""
        setting = f" at {'; '.join(self.variant.shown_setting)}" if self.stage == TUNING else ""
        return f"{self.variant.name}{setting}"

    @property
    def is_tested(self) -> bool:
        """What is chosen by valid shall not know the test."""
        return self.stage != TUNING

    @property
    def key(self) -> Key:
        """The same wherever the study lies."""
        return _sha(self.variant.config, self.seed), self.seed, self.variant.corpus_sha

    @property
    def folder(self) -> Path:
        own = f"{_sha(self.variant.config, self.seed)} {self.variant.corpus_sha}"
        name = f"seed-{self.seed}-{hashlib.sha256(own.encode()).hexdigest()[:8]}"
        return self.study / self.stage / self.variant.slug / name

    @property
    def config_file(self) -> Path:
        return self.study / self.stage / self.variant.slug / f"variant-{self.variant.config.sha[:8]}.gin"


@cache
def _sha(config: Config, seed: int) -> str:
    """Of a configuration with another seed; remembered, because a study of 10,000 cells asks for each several times."""
    return config.override([f"Trainer.seed = {seed}"]).sha

"""What the tests of configurations do with them."""

import textwrap
from pathlib import Path
from typing import Any

import pytest

from rnnlab.config import Config, resolve
from rnnlab.errors import ConfigError


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

"""A headless Chromium for the tests that look at what people will look at."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

EXECUTABLE = Path("/usr/bin/chromium")
SCREENSHOTS = Path(__file__).resolve().parents[2] / "artifacts"  # kept, so that a person can look as well
HASH = re.compile(r"\b(?=[0-9a-f]*[a-f])(?=[0-9a-f]*[0-9])[0-9a-f]{8,}\b")  # a name that no reader should meet
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@contextmanager
def browser() -> Iterator[Browser]:
    """A running browser. Where there is none the test is skipped, except in CI, where it fails."""
    if not EXECUTABLE.exists():
        reason = f"{EXECUTABLE} is missing: apt-get install chromium"
        assert "CI" not in os.environ, reason
        pytest.skip(reason)
    SCREENSHOTS.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=EXECUTABLE, args=ARGUMENTS)
        try:
            yield running
        finally:
            running.close()

"""What a study found, as its command tells it."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Conclusion:
    """What a search or an ablation found.

    Attributes:
        facts: for programs.
        text: for a terminal.
    """

    facts: dict[str, Any]
    text: str

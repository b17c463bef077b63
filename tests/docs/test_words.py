"""One word for one thing, and the field's word: those that were given up stay out."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PLACES = ("rnnlab", "components", "studies", "gin", "docs", "bench", "README.md", "CONTRIBUTING.md")

GIVEN_UP = {
    r"[Ll]anes?|eval_lanes|select_lanes|join_lanes|lane_dim": "batch, batch_size, sequence of the batch, batch_dim",
    r"Trainer\.chunk|eval_chunk|paper_chunk": "Trainer.bptt, eval_bptt, paper_bptt",
    r"Trainer\.corpus": "Trainer.source",
    r"Pieces?": "Chunk",
    r"Transparent|Forgetting": "HasAttentionWeights, HasForgetGate",
    r"from_first|together\(": "broadcast_from_rank0, reporting_lost_rank",
    r"config\.Rank": "config.Precedence",
    r"[Ll]edger|Conclusion|pass_judgment": "SharedStudy, (facts, text), stopped_by",
}

ALLOWED = {"rnnlab/config/checks.py": "tells those who still say them what they are called now"}


def tracked() -> list[str]:
    listed = subprocess.run(["git", "ls-files", *PLACES], cwd=ROOT, capture_output=True, text=True, check=True)
    return [name for name in listed.stdout.split() if not name.endswith(".png") and (ROOT / name).exists()]


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a checkout")
@pytest.mark.parametrize(("words", "now"), GIVEN_UP.items(), ids=GIVEN_UP.values())
def test_words_that_were_given_up_stay_out(words: str, now: str) -> None:
    found = [
        f"{name}:{number}: {line.strip()}"
        for name in tracked()
        if name not in ALLOWED
        for number, line in enumerate((ROOT / name).read_text(encoding="utf-8").splitlines(), 1)
        if re.search(rf"(?<!\w)(?:{words})(?!\w)", line)
    ]
    assert not found, f"say {now}: " + "; ".join(found[:5])

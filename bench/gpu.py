"""What only a GPU can show, in stages of a few minutes: `make gpu STAGE=1` to 4, or `python -m bench.gpu 1`.

    1  doctor, and the tests marked cuda
    2  speed: the table of `make bench-gpu`
    3  memory and seconds of a step of the paper's recipes, beside what `rnnlab plan` says
    4  learning curves of three variants over the first megabytes of enwik8

Each stage writes one small file, docs/gpu/CARD/STAGE.json, to be committed. A stage that was broken off goes on where
it was, and what is in the file is not measured again. No network is needed: --corpus names the text.
"""

import argparse
import json
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from rnnlab.storage import metrics

ROOT = Path(__file__).resolve().parents[1]
RUNS = ROOT / "runs" / "gpu"
RECIPES = ["sha_rnn", "sha_rnn_every_layer", "sha_lstm_no_attention", "sha_rnn core/gru", "sha_rnn core/qrnn"]
SPEEDS = ["training", "CUDA graph", "LSTM over QRNN", "over 1", "generation", "scan", "torch.compile", "wavefront"]
CURVES = ["sha_rnn", "sha_lstm_no_attention", "sha_rnn core/qrnn"]
CURVE_BYTES = 10_000_000

Facts = dict[str, Any]


class Stage:
    """What a stage has found so far, on the disk after each answer."""

    def __init__(self, number: int, corpus: Path) -> None:
        card = torch.cuda.get_device_name().replace(" ", "-")
        self.corpus, self.path = corpus, ROOT / "docs" / "gpu" / card / f"{number}.json"
        self.found: Facts = json.loads(self.path.read_text()) if self.path.exists() else {"machine": machine()}

    def ask(self, name: str, answer: Callable[[], Any]) -> Any:
        """The answer of before, or a new one, which is kept."""
        if name not in self.found:
            print(f"{name} ...", flush=True)
            started = time.monotonic()
            self.found[name] = answer()
            print(f"{name}: {time.monotonic() - started:.0f} s", flush=True)
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.write_text(json.dumps(self.found, indent=1) + "\n")
        return self.found[name]


def machine() -> Facts:
    card = torch.cuda.get_device_properties(0)
    return {
        "card": card.name,
        "memory_gib": round(card.total_memory / 2**30, 1),
        "torch": torch.__version__,
        "cudnn": torch.backends.cudnn.version(),
        "python": platform.python_version(),
    }


def run(*command: str) -> subprocess.CompletedProcess[str]:
    """With its standard error passed on."""
    return subprocess.run([sys.executable, "-m", *command], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)


def answer_of(*command: str) -> Any:
    """What a command of rnnlab answers as JSON. Ends the stage if it failed: the next try asks again."""
    done = run("rnnlab", *command, "--json")
    try:
        return json.loads(done.stdout)
    except ValueError:
        raise SystemExit(f"rnnlab {' '.join(command)} ended with code {done.returncode}") from None


def doctor() -> list[str]:
    """What it says of the GPU and of a training step; the rest is of the machine's folders and settings."""
    told = ("GPU", "A training step")
    found = [each for each in answer_of("doctor")["findings"] if each["group"] in told]
    return [f"{each['verdict']}: {each['name']}: {each['detail']}" for each in found]


def tests(stage: Stage) -> None:
    stage.ask("doctor", doctor)

    def pytest() -> list[str]:
        # warnings as errors are for the version of torch that the project is tested with
        where = [f"tests/{folder}" for folder in ("gpu", "bench", "rnnlab", "components")]
        done = run("pytest", "-m", "cuda", "-q", "-rfE", "--tb=short", "-n", "8", "-W", "default", *where)
        print(done.stdout[-6000:])
        return [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR")) or " passed" in line]

    stage.ask("tests", pytest)


def speed(stage: Stage) -> None:
    for word in SPEEDS:
        stage.ask(word, partial(rows_of, word))


def rows_of(word: str) -> list[Facts]:
    """The rows of the table that have this in their name."""
    table = RUNS / "bench.json"
    RUNS.mkdir(parents=True, exist_ok=True)
    print(run("bench", "--device", "cuda", "--repeats", "5", "--only", word, "--out", str(table)).stdout)
    rows: list[Facts] = json.loads(table.read_text())["rows"]
    return rows


def plan(stage: Stage) -> None:
    for recipe in RECIPES:
        for precision in ("bf16", "fp32"):
            bindings = ["--set", f"Trainer.precision = {precision!r}", "--corpus", str(stage.corpus)]
            stage.ask(f"{recipe} {precision}", partial(beside_plan, [*recipe.split(), *bindings]))


def beside_plan(arguments: Sequence[str]) -> Facts:
    planned = answer_of("plan", *arguments)
    measured = answer_of("bench", *arguments, "--repeats", "3")
    kept = ("bytes_per_second", "step_seconds", "peak_memory_mb", "parts")
    return {"planned": planned, "measured": {name: measured[name] for name in kept}}


def curves(stage: Stage) -> None:
    for variant in CURVES:
        stage.ask(variant, partial(curve, variant, stage.corpus))


def curve(variant: str, corpus: Path) -> Facts:
    folder = RUNS / variant.replace("/", "-").replace(" ", "-")
    told = ["--set", "Trainer.precision = 'bf16'", "--bytes", str(CURVE_BYTES), "--corpus", str(corpus)]
    if (folder / "config.gin").exists():
        result = answer_of("resume", str(folder))
    else:
        result = answer_of("train", *variant.split(), *told, "--run", str(folder))
    result.pop("run", None)
    records = metrics.read(folder / "metrics.jsonl")
    valid = [[record["bytes"], round(record["valid_bpc"], 4)] for record in records if record["kind"] == "valid"]
    train = [[r["bytes"], round(r["bpc"], 4)] for r in records if r["kind"] == "train" and r["step"] % 50 == 0]
    return {"result": result, "valid": valid, "train": train}


STAGES = {1: tests, 2: speed, 3: plan, 4: curves}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.gpu", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("stage", type=int, choices=STAGES)
    parser.add_argument("--corpus", type=Path, default=Path("enwik8"), help="text for stages 3 and 4 (default: enwik8)")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        parser.error("this torch sees no CUDA device; `rnnlab doctor` says why")
    STAGES[options.stage](Stage(options.stage, options.corpus))
    return 0


if __name__ == "__main__":
    sys.exit(main())

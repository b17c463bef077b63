"""Whether two checkouts train to the same bits: `python -m bench.same_numbers BEFORE AFTER`.

Every core with every attention that both have at size/tiny, and sha_rnn at size/small, for some steps, with the Python
of each checkout's own `.venv`. Compared are the loss and the gradient norm of every step, and the scores at the end.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

STEPS = {"tiny": 12, "small": 4}

TRAIN = """
import contextlib, json, os, sys
import rnnlab
variants, text, folder = json.loads(sys.argv[1]), sys.argv[2], sys.argv[3]
found = {}
for name, (fragments, steps) in variants.items():
    bindings = ["data/file", f"File.path = {text!r}", f"Trainer.steps = {steps}", "Trainer.log_every = 1",
                "Trainer.eval_bytes = 5000", "Trainer.threads = 1", "Trainer.device = 'cpu'"]
    run = os.path.join(folder, name)
    with contextlib.redirect_stdout(sys.stderr):
        result = rnnlab.train([*fragments, bindings[0]], bindings[1:], run=run)
    with open(os.path.join(run, "metrics.jsonl")) as file:
        records = [json.loads(line) for line in file]
    steps = [[record["loss"], record["grad_norm"]] for record in records if record["kind"] == "train"]
    found[name] = {"steps": steps, "valid": result["valid_bpc"], "test": result["test_bpc"]}
print(json.dumps(found))
"""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.same_numbers", description=__doc__)
    parser.add_argument("checkouts", nargs=2, type=Path, metavar="CHECKOUT", help="a folder with a .venv")
    parser.add_argument("--but", nargs="*", default=[], metavar="CORE", help="cores that are told, and may differ")
    options = parser.parse_args()
    cores, attentions = (in_both(options.checkouts, folder) for folder in ("core", "attention"))
    variants = {f"{core}-{attention}": (["sha_rnn", "size/tiny", f"core/{core}", f"attention/{attention}"], "tiny")
                for core in cores for attention in attentions}  # fmt: skip
    variants["small"] = (["sha_rnn", "size/small"], "small")
    with tempfile.TemporaryDirectory() as folder:
        text = Path(folder, "text")
        text.write_text("".join(f"{number} {number * number}\n" for number in range(20_000)))
        before, after = (train(checkout, variants, text, Path(folder, str(i)))
                         for i, checkout in enumerate(options.checkouts))  # fmt: skip
    differ = [name for name in variants if before[name] != after[name]]
    for name in variants:
        print(f"{'differs' if name in differ else 'same':8}{name}: {apart(before[name], after[name])}")
    unexpected = [name for name in differ if name.partition("-")[0] not in options.but]
    print(f"{len(variants) - len(differ)} of {len(variants)} to the bit")
    return 1 if unexpected else 0


def in_both(checkouts: list[Path], folder: str) -> list[str]:
    """The fragments of a folder that both checkouts have."""
    before, after = ({path.stem for path in (checkout / "gin" / folder).glob("*.gin")} for checkout in checkouts)
    return sorted(before & after)


def train(checkout: Path, variants: dict[str, tuple[list[str], str]], text: Path, folder: Path) -> dict[str, dict]:
    orders = {name: (fragments, STEPS[size]) for name, (fragments, size) in variants.items()}
    python = (checkout / ".venv/bin/python").absolute()  # not resolved: a link to the system's would leave the .venv
    done = subprocess.run([str(python), "-c", TRAIN, json.dumps(orders), str(text), str(folder)],
                          cwd=checkout, stdout=subprocess.PIPE, text=True)  # fmt: skip
    if done.returncode:
        sys.exit(f"{checkout}: training failed")
    found: dict[str, dict] = json.loads(done.stdout)
    return found


def apart(before: dict, after: dict) -> str:
    """Where two runs part, or how far they went together."""
    pairs = list(zip(before["steps"], after["steps"], strict=True))
    first = next((step for step, (a, b) in enumerate(pairs, 1) if a != b), None)
    if first is None:
        same = before["test"] == after["test"] and before["valid"] == after["valid"]
        return f"{len(pairs)} steps{'' if same else '; the scores differ'}"
    a, b = pairs[first - 1]
    return f"from step {first} on: loss {a[0]!r} and {b[0]!r}, gradient norm {a[1]!r} and {b[1]!r}"


if __name__ == "__main__":
    sys.exit(main())

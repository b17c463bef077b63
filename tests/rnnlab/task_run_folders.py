"""Folders of runs on tasks with the content that a training run leaves, written without training."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rnnlab.storage.runfolder import FORMAT

TASKS: dict[str, dict[str, Any]] = {
    "Parity": {"difficulty": "length", "judged": "last", "trained": [3, 10, 20, 40], "chance": 0.5},
    "Recall": {"difficulty": "pairs", "judged": "asked", "trained": [2, 4, 8], "chance": 0.0625},
    "RecallAtDistance": {"difficulty": "distance", "judged": "last", "trained": [1, 16, 64], "chance": 0.0625},
}
STEPS, POSITIONS = 100, 2560  # a step trains as many


def write_task_run(
    folder: Path,
    test: Mapping[int, float],
    task: str = "Parity",
    seed: int = 1,
    accuracy: float = 0.98,
    status: str = "done",
    reach: int | None = None,
    core: str = "LSTM",
    figures: Mapping[str, Any] | None = None,
) -> Path:
    """Write one run folder and return it.

    Args:
        test: accuracy by difficulty.
        task: one of TASKS.
        accuracy: of valid, in which the curve ends.
        status: "unfinished" leaves result.json out.
        reach: [positions]
        figures: over those of result.json.
    """
    folder.mkdir(parents=True)
    about = TASKS[task]
    config = {
        "Block.core": f"@core.{core}", "LanguageModel.dim": "64", "Trainer.seed": str(seed),
        "Trainer.source": f"@task.{task}", "Trainer.steps": str(STEPS),
    }  # fmt: skip
    (folder / "config.gin").write_text("".join(f"{key} = {value}\n" for key, value in sorted(config.items())))
    facts = {"parameters": 101_376, "parameters_deployable": 101_376, "macs_per_byte": 90_112, "state_floats": 512}
    environment = {"format": FORMAT, "torch": "2.13.0", "device": "cpu", "corpus": task, "corpus_sha": "0123", **facts}
    (folder / "environment.json").write_text(json.dumps(environment))
    records = _journal(about["chance"], accuracy, seed)
    (folder / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    if status != "unfinished":
        result = {**_result(task, test, records, seed, status, reach), **facts, **(figures or {})}
        (folder / "result.json").write_text(json.dumps(result, indent=2))
    return folder


def _journal(chance: float, accuracy: float, seed: int) -> list[dict[str, Any]]:
    records: list[dict[str, Any]] = []
    best: dict[str, float] = {"best_valid_accuracy": 0.0, "best_valid_nats": math.inf}
    for step in range(5, STEPS + 1, 5):
        done = 1 / (1 + math.exp(-16 * (step / STEPS - 0.5))) + 0.01 * math.sin(seed + step)
        reached = chance + (accuracy - chance) * min(1.0, max(0.0, done))
        nats = -math.log(chance) * (1 - reached) / (1 - chance) + 0.01
        at = {"step": step, "bytes": step * POSITIONS + 11 * seed, "seconds": step * 0.04}  # lengths are drawn by seed
        records.append({"kind": "train", "loss": nats, "accuracy": reached, "lr": 2e-3, "grad_norm": 0.3, **at,
                        "bytes_per_second": 64_000.0, "memory_mb": 700.0 + step})  # fmt: skip
        if step % 10 == 0:
            if nats < best["best_valid_nats"]:
                best = {"best_valid_accuracy": reached, "best_valid_nats": nats}
            records.append({"kind": "valid", "valid_accuracy": reached, "valid_nats": nats, **best, **at,
                            "examples": 512, "answers": 512, "seconds_evaluating": 0.5})  # fmt: skip
    return records


def _result(
    task: str, test: Mapping[int, float], records: list[dict[str, Any]], seed: int, status: str, reach: int | None
) -> dict[str, Any]:
    about, last = TASKS[task], records[-1]
    rows = [
        {about["difficulty"]: at, "accuracy": accuracy, "accuracy_last": accuracy, "accuracy_asked": accuracy,
         "nats": 0.1, "chance": about["chance"], "seen": 0.25 if at < 8 else 0.0, "examples": 1024, "answers": 1024}
        for at, accuracy in test.items()
    ]  # fmt: skip
    reached = {key: last[key] for key in ("valid_accuracy", "valid_nats", "best_valid_accuracy", "best_valid_nats")}
    tested = status == "done"
    return {
        "status": status,
        **reached,
        "valid_chance": about["chance"],
        "test_accuracy": sum(test.values()) / len(test) if tested else None,
        "test_nats": 0.1 if tested else None,
        "test_chance": about["chance"] if tested else None,
        "test_by": rows if tested else [],
        "task": {"name": task, **{key: about[key] for key in ("difficulty", "judged", "trained")}},
        "reach": reach,
        "protocol": {"batch_size": 64, "bptt": 512, "memory": None, "examples": 1024 * len(test),
                     "answers": 1024 * len(test)},
        "valid_protocol": {"batch_size": 64, "bptt": 512, "memory": None, "examples": 512, "answers": 512},
        "bytes_trained": STEPS * POSITIONS,
        "steps": STEPS,
        "bytes_per_second": 64_000.0,
        "seconds": STEPS * 0.04,
        "peak_memory_mb": 812.4,
        "seed": seed,
        "device": "cpu",
        "precision": "fp32",
    }  # fmt: skip


def write_task_study(folder: Path, task: str = "Parity") -> Path:
    """Three cores of two seeds each on one task: one learns it for all difficulties, one for few, one not at all."""
    about = TASKS[task]
    hardest, chance = max(about["trained"]), about["chance"]
    for core, accuracy, loses in (("LSTM", 1.0, 0.0), ("GRU", 0.9, 0.1), ("QRNN", chance, 0.0)):
        for seed in (1, 2):
            steps = enumerate((hardest // 2, hardest, 2 * hardest, 4 * hardest))
            test = {at: max(chance, accuracy - loses * i - 0.004 * seed * (accuracy < 1)) for i, at in steps}
            run = folder / "cells" / core.lower() / f"seed-{seed}"
            write_task_run(run, test, task, seed, accuracy, reach=63 if core == "QRNN" else None, core=core)
    return folder

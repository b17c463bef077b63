"""Run folders with the content that a training run leaves, written without training."""

import json
import math
from pathlib import Path
from typing import Any

BASE = {
    "Block.core": "@core.LSTM",
    "Block.dropout": "%dropout",
    "Block.feedforward": "@feedforward.Boom",
    "Block.wiring": "@block.SHA",
    "LanguageModel.blocks": "[@Block, @Block, @sha/Block, @Block]",
    "LanguageModel.dim": "256",
    "LanguageModel.init_std": "0.05",
    "Trainer.bytes": "1000000",
    "Trainer.batch_size": "8",
    "attention.SingleHead.memory": "%memory",
    "dropout": "0.1",
    "memory": "1024",
    "sha/Block.attention": "@attention.SingleHead",
}


def write_run(
    folder: Path,
    seed: int = 1,
    bpc: float = 2.6,
    status: str = "done",
    share: float = 1.0,
    bytes_per_second: float = 9000.0,
    figures: dict[str, Any] | None = None,
    **bindings: str,
) -> Path:
    """Write one run folder and return it.

    Args:
        bpc: valid BPC that the curve ends in after the whole budget of 1,000,000 bytes [bits/byte].
        status: "unfinished" leaves result.json out.
        share: of the budget that was trained.
        figures: over those of result.json and environment.json.
        bindings: over those of BASE, with "__" for a dot and "_over_" for a slash.
    """
    folder.mkdir(parents=True)
    config = {**BASE, "Trainer.seed": str(seed)}
    config |= {key.replace("_over_", "/").replace("__", "."): value for key, value in bindings.items()}
    (folder / "config.gin").write_text("".join(f"{key} = {value}\n" for key, value in sorted(config.items())))
    facts = {"parameters": 3_412_736, "parameters_deployable": 3_281_152, "macs_per_byte": 3_900_000,
             "state_floats": 263_936, **(figures or {})}  # fmt: skip
    (folder / "environment.json").write_text(json.dumps({"torch": "2.13.0", "device": "cpu", **facts}))
    records = _journal(seed, bpc, share, bytes_per_second)
    (folder / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    valid = [record["valid_bpc"] for record in records if record["kind"] == "valid"]
    result = {
        "status": status,
        "valid_bpc": valid[-1] if valid else None,
        "best_valid_bpc": min(valid, default=None),
        "test_bpc": valid[-1] - 0.024 if valid and status == "done" else None,
        "bytes_trained": int(share * 1_000_000),
        "steps": len(records),
        "bytes_per_second": bytes_per_second,
        "seconds": share * 1_000_000 / bytes_per_second,
        "peak_memory_mb": 812.4,
        "seed": seed,
        "protocol": {"batch_size": 8, "bptt": 256, "memory": 1024, "bytes_scored": 149_992},
        "device": "cpu",
        "precision": "fp32",
        **facts,
    }
    if status != "unfinished":
        (folder / "result.json").write_text(json.dumps(result, indent=2))
    return folder


def _journal(seed: int, bpc: float, share: float, bytes_per_second: float) -> list[dict[str, Any]]:
    records: list[dict[str, Any]] = []
    step_bytes, steps = 2000, int(500 * share)
    for step in range(1, steps + 1):
        done = step / 500
        level = bpc + (5.2 - bpc) * (math.exp(-6 * done) - math.exp(-6)) / (1 - math.exp(-6))
        wobble = 0.02 * math.sin(13 * seed + 3 * done * seed)
        at = {"step": step, "bytes": step * step_bytes, "seconds": step * step_bytes / bytes_per_second}
        if step % 5 == 0:
            loss = level - 0.05 + wobble + 0.25 * math.sin(step * 12.9898 + seed) ** 3
            train = {"kind": "train", "loss": loss * math.log(2), "bpc": loss, "lr": 2e-3, "grad_norm": 0.3}
            records.append({**train, **at, "bytes_per_second": bytes_per_second, "memory_mb": 700.0 + step / 10})
        if step % 25 == 0:
            records.append({"kind": "valid", "valid_bpc": level + wobble, **at})
    return records


def write_study(folder: Path) -> Path:
    """Five variants of three seeds each, one seed of the last still going."""
    variants: list[tuple[str, float, float, dict[str, Any], dict[str, str]]] = [
        ("lstm", 2.61, 9200, {}, {}),
        ("qrnn", 2.68, 15_400, {"parameters": 2_100_000, "macs_per_byte": 2_700_000}, {"Block__core": "@core.QRNN"}),
        ("gru", 2.59, 10_100, {"parameters": 3_000_000, "macs_per_byte": 3_300_000}, {"Block__core": "@core.GRU"}),
        ("no_attention", 2.84, 12_800, {"macs_per_byte": 3_100_000}, {"sha_over_Block__attention": "None"}),
        ("memory_512", 2.64, 9900, {"macs_per_byte": 3_600_000}, {"memory": "512", "dropout": "0.2"}),
    ]
    for name, bpc, speed, figures, bindings in variants:
        for seed in (1, 2, 3):
            late = name == "memory_512" and seed == 3
            status, share = ("unfinished", 0.6) if late else ("done", 1.0)
            run = folder / "cells" / name / f"seed-{seed}"
            write_run(run, seed, bpc, status, share, speed + 50 * seed, figures, **bindings)
    return folder

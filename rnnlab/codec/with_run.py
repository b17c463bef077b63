"""Compressing with the model of a run, as it is or as it goes on learning."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rnnlab.api import LoadedRun, load
from rnnlab.codec.coder import Coder, Decoder, Encoder, constriction
from rnnlab.codec.container import Container, check_place, text_of
from rnnlab.codec.needs import check_needs, hash_of, needs
from rnnlab.codec.streams import CPU, MOST_EXPANSION, Cut, code_chunks, portion_of, some_streams
from rnnlab.codec.written import Stopwatch, progress, write_compressed
from rnnlab.data.memory_text import Columns, MemoryText
from rnnlab.data.splits import VOCABULARY, Bytes
from rnnlab.errors import ConfigError, StorageError
from rnnlab.evaluation import examine
from rnnlab.scoring.dynamic import Dynamic, DynamicForecaster
from rnnlab.scoring.forecaster import Forecaster
from rnnlab.scoring.order import ScoreFirst
from rnnlab.training.dynamic import dynamic_forecaster
from rnnlab.training.threads import WORK, using_threads

KIND = "run"
CHUNK = 256  # [positions] between two looks at the progress, of a model that does not learn


def compress_with_run(
    path: str | Path,
    out: str | Path,
    run: str | Path,
    *,
    streams: int | None = None,
    best: bool = False,
    dynamic: bool = False,
    overrides: str | Sequence[str] = (),
) -> dict[str, Any]:
    """Write `out`, from which `decompress` makes the same bytes with the same run.

    Args:
        path: any file, an empty one as well.
        run: folder of a run on a text.
        streams: how many pieces of the file are coded side by side; None for the run's eval_batch_size, and fewer of a
            short file. More are faster, and cost the context that each begins without.
        best: the run's best checkpoint in place of its newest.
        dynamic: let the model learn from what is coded; overrides may bind `Dynamic.rate` and the like.
    Returns: the figures, with "eval_bpc": what an evaluation of these bytes under the same protocol comes to.
    Raises: ConfigError, DataError, StorageError; Diverged if the model gives no distribution.
    """
    watch, source, target = Stopwatch(), Path(path), Path(out)
    data = text_of(source)
    check_place(target)
    constriction()
    loaded = _load(run, best, dynamic, overrides)
    trainer = loaded.experiment.trainer
    if streams is not None and streams < 1:
        raise ConfigError(f"--streams {streams}: at least 1")
    count = streams or some_streams(len(data), trainer.eval_batch_size)
    cut, threads = Cut(0, len(data), count), _threads(loaded, count)
    text = np.frombuffer(data, dtype=np.uint8)
    with using_threads(threads):
        forecaster = _forecaster(loaded)
        encoder = Encoder()
        nats = _code(forecaster, cut, text, encoder, "compress")
        payload = encoder.payload()
        evaluated = _evaluated(loaded, forecaster, cut, text)
    header = {
        "kind": KIND,
        "streams": count,
        "threads": threads,
        "best": best,
        "dynamic": asdict(forecaster.rule) if isinstance(forecaster, DynamicForecaster) else {},
        "needs": _needs(forecaster),
    }
    figures = write_compressed(target, data, cut.take_plain(text), payload, header, nats, watch)
    return {**figures, "streams": count, "threads": threads, "eval_bpc": evaluated, "dynamic": forecaster.told()}


def text_with_run(container: Container, run: str | Path, name: str) -> bytes:
    """What the container holds, by the model of the run.

    Args:
        name: of the file, for errors.
    Raises: ConfigError if the run, torch, the kernels or what else is needed is another; DataError, StorageError.
    """
    size, count, threads = (container.told(entry, int) for entry in ("size", "streams", "threads"))
    cut = Cut(0, size, count) if size >= 0 and count >= 1 else Cut(0, 0, 1)
    if cut.stop != size or size > (len(container.body) + 1) * MOST_EXPANSION or cut.plain > len(container.body):
        raise StorageError(f"{name}: {size} bytes in {count} streams: it was not written by rnnlab")
    rule = container.told("dynamic", dict)
    loaded = _load(run, container.told("best", bool), bool(rule), ())
    if rule:
        loaded.experiment.dynamic = Dynamic(**rule)
    with using_threads(threads):
        forecaster = _forecaster(loaded)
        check_needs(name, container.told("needs", dict), _needs(forecaster))
        text = np.zeros(size, dtype=np.uint8)
        cut.put_plain(text, container.body[: cut.plain])
        _code(forecaster, cut, text, Decoder(container.body[cut.plain :]), "decompress")
    return text.tobytes()


def _load(run: str | Path, best: bool, dynamic: bool, overrides: str | Sequence[str]) -> LoadedRun:
    loaded = load(run, best=best, device="cpu", dynamic=dynamic, overrides=overrides)
    if loaded.model.vocabulary != VOCABULARY or loaded.experiment.trainer.compile:
        why = "is compiled by torch" if loaded.experiment.trainer.compile else "was trained on a task, not on bytes"
        raise ConfigError(f"{run}: the model {why}; a coder takes a model of a text that is not")
    if not dynamic:
        loaded.experiment.dynamic = None
    return loaded


def _forecaster(loaded: LoadedRun) -> Forecaster:
    if loaded.experiment.dynamic is None:
        return Forecaster(loaded.model)
    return dynamic_forecaster(loaded.experiment)


def _needs(forecaster: Forecaster) -> dict[str, Any]:
    needed = needs(forecaster.model)
    if isinstance(forecaster, DynamicForecaster) and forecaster.squares:
        needed["statistics"] = hash_of(forecaster.squares)
    return needed


def _threads(loaded: LoadedRun, streams: int) -> int:
    """As many as a step of all streams is worth."""
    return max(1, min(torch.get_num_threads(), loaded.model.macs() * streams // WORK))


def _chunk(forecaster: Forecaster) -> int:
    return forecaster.rule.bptt if isinstance(forecaster, DynamicForecaster) else CHUNK


def _code(forecaster: Forecaster, cut: Cut, text: Bytes, code: Coder, doing: str) -> float:
    """Both directions. Returns: what the model says that the bytes cost [nats]; of a decoder the text is filled in."""
    if not cut.coded:
        return 0.0
    columns = Columns(cut.streams_of(text).copy(), known=1)
    order, portion = ScoreFirst(forecaster), portion_of(columns)
    order.open(portion, CPU)
    with forecaster, progress(doing, cut.coded) as done:
        code_chunks(order, columns, portion.chunks(_chunk(forecaster)), code, done)
    if isinstance(code, Decoder):
        cut.streams_of(text)[:] = columns.tokens
    return order.running.total


def _evaluated(loaded: LoadedRun, forecaster: Forecaster, cut: Cut, text: Bytes) -> float | None:
    """BPC by `rnnlab.evaluation`, chunks at once; None if there is nothing to score."""
    if not cut.coded:
        return None
    bptt = forecaster.rule.bptt if isinstance(forecaster, DynamicForecaster) else loaded.experiment.trainer.eval_bptt
    score = examine(ScoreFirst(forecaster), MemoryText("text", text), batch_size=cut.streams, bptt=bptt)
    return score.bpc

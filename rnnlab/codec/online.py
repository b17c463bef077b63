"""Compressing with a model that starts from its seed and learns from what has been coded.

Of the model nothing is stored but the configuration, its seed in it: a decoder trains the same model on what it has
decoded. So the size of the file is the length of a prequential code (Dawid 1984; Rissanen 1984).
"""

import itertools
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from rnnlab import config
from rnnlab.codec.coder import Coder, Decoder, Encoder, constriction
from rnnlab.codec.container import Container, check_place, text_of
from rnnlab.codec.needs import check_needs, needs
from rnnlab.codec.streams import CPU, MOST_EXPANSION, Cut, code_chunks, portion_of, some_streams
from rnnlab.codec.written import Done, Stopwatch, progress, write_compressed
from rnnlab.config import Config
from rnnlab.data.memory_text import CodedText, Columns
from rnnlab.data.source import Chunk, Read
from rnnlab.data.splits import Bytes
from rnnlab.errors import ConfigError, StorageError
from rnnlab.scoring.forecaster import Forecaster
from rnnlab.scoring.order import ScoreFirst
from rnnlab.training.experiment import Experiment, build
from rnnlab.training.learner import Learner
from rnnlab.training.threads import choose_threads, using_threads

KIND = "online"


def compress_online(
    path: str | Path, out: str | Path, fragments: str | Sequence[str], overrides: str | Sequence[str] = ()
) -> dict[str, Any]:
    """Write `out`, from which `decompress` makes the same bytes with nothing else.

    Args:
        path: any file, an empty one as well.
        fragments, overrides: the configuration, as of `rnnlab.train`; the recipe runs once over the file.
    Returns: the figures; "model_bpc" is the online code length [bits/byte].
    Raises: ConfigError, DataError, StorageError; Diverged if training does.
    """
    watch, target = Stopwatch(), Path(out)
    data = text_of(Path(path))
    check_place(target)
    constriction()
    resolved = config.resolve(fragments, overrides).override(["Trainer.device = 'cpu'"])
    text = np.frombuffer(data, dtype=np.uint8)
    built = _build(resolved)
    threads = choose_threads(built)
    with using_threads(threads):
        needed = needs(built.model)
        stages, encoder = _stages(built, len(data)), Encoder()
        nats = OnlineRun(built, len(data)).code(stages, text.copy(), encoder, "compress")
    plain = b"".join(stage.cut.take_plain(text) for stage in stages)
    header = {"kind": KIND, "threads": threads, "config": config.identity(resolved.text), "needs": needed}
    figures = write_compressed(target, data, plain, encoder.payload(), header, nats, watch)
    return {**figures, "streams": [stage.cut.streams for stage in stages], "threads": threads}


def text_online(container: Container, name: str) -> bytes:
    """What the container holds.

    Args:
        name: of the file, for errors.
    Raises: ConfigError if torch, the kernels or what else is needed is another; DataError, StorageError.
    """
    size, threads = container.told("size", int), container.told("threads", int)
    if not 0 <= size <= (len(container.body) + 1) * MOST_EXPANSION or threads < 1:
        raise StorageError(f"{name}: {size} bytes by {threads} threads: it was not written by rnnlab")
    built = _build(_resolved(container.told("config", str)))
    with using_threads(threads):
        check_needs(name, container.told("needs", dict), needs(built.model))
        stages = _stages(built, size)
        text, plain, body = np.zeros(size, dtype=np.uint8), 0, container.body
        for cut in (stage.cut for stage in stages):
            cut.put_plain(text, body[plain : plain + cut.plain])
            plain += cut.plain
        OnlineRun(built, size).code(stages, text, Decoder(body[plain:]), "decompress")
    return text.tobytes()


def _resolved(text: str) -> Config:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.gin"
        path.write_text(text, encoding="utf-8")
        return config.load(path)


def _build(resolved: Config) -> Experiment:
    """The model from its seed; which text the configuration names plays no part."""
    nothing = CodedText(Columns(np.zeros((1, 2), dtype=np.uint8)))
    built = build(resolved, coded=nothing)
    trainer = built.trainer
    trainer.training_device()
    if trainer.accumulate > 1 or trainer.compile:
        bound = "Trainer.compile = True" if trainer.compile else f"Trainer.accumulate = {trainer.accumulate}"
        raise ConfigError(f"{bound}: a coder learns chunk by chunk, and is not compiled by torch; leave it out")
    return built


@dataclass(frozen=True)
class Pace:
    """How a stretch of a stage is learned: chunks of bptt positions, each followed by further steps on older ones."""

    end: int  # until so many bytes of the text are coded
    bptt: int
    again: int


@dataclass(frozen=True)
class Stretch:
    """A stretch of a text that is read with one number of streams."""

    cut: Cut
    paces: tuple[Pace, ...]

    def pace(self, position: int) -> Pace:
        """Of the chunk that begins there."""
        coded = self.cut.start + position * self.cut.streams
        return next((pace for pace in self.paces if coded < pace.end), self.paces[-1])


def _stages(built: Experiment, size: int) -> list[Stretch]:
    """Of a text of so many bytes; what has as many streams as what is before it goes on with their state."""
    assert built.online is not None
    trainer, again, start = built.trainer, built.online.again, 0
    asked = [
        (streams, Pace(min(end, size), bptt, *(more or [again]))) for end, streams, bptt, *more in built.online.stages
    ]
    asked.append((trainer.batch_size, Pace(size, trainer.bptt, again)))
    stages = []
    for streams, some in itertools.groupby(asked, key=lambda stage: stage[0]):
        paces = tuple(pace for _, pace in some if pace.end > start)
        if paces:
            stop = paces[-1].end
            stages.append(Stretch(Cut(start, stop, some_streams(stop - start, streams)), paces))
            start = stop
    return stages


class Following(Forecaster):
    """The model of a learner: it predicts from the learner's state, in eval mode, and learns by the learner's steps."""

    def __init__(self, learner: Learner, again: "Again") -> None:
        super().__init__(learner.model)
        self.learner, self.again = learner, again

    def learn(self, read: Read) -> None:
        self.model.train()
        self.learner.step()
        self.again.learn()
        self.model.eval()
        self.state, self._stepping = self.learner.state, None


class Again:
    """A second reading of what was coded, some way behind the first; at the end of what is known it begins anew."""

    def __init__(self, learner: Learner, source: CodedText, behind: int) -> None:
        """Args: behind: how much of a stage is coded before it begins [bytes]."""
        self._learner, self._source, self._behind = learner, source, behind
        self.steps = 0  # after the chunk
        self._position = 0
        self._state: Any = None

    def begin(self) -> None:
        """Another stage: it begins there."""
        self._position, self._state = 0, None

    def learn(self) -> None:
        learner, columns = self._learner, self._source.columns
        enough = columns.known * columns.count > self._behind and columns.known > learner.trainer.bptt
        if not self.steps or not enough:
            return
        before, state = learner.progress, learner.state
        for _ in range(self.steps):
            if self._position + learner.trainer.bptt >= columns.known:
                self._position = 0
            learner.progress = replace(learner.progress, position=self._position, bytes=before.bytes)
            learner.state = self._state
            learner.step()
            self._position, self._state = learner.progress.position, learner.state
        learner.progress = replace(
            learner.progress, reading=before.reading, position=before.position, bytes=before.bytes
        )
        learner.state = state


class OnlineRun:
    """One pass over a text: a learner that codes each chunk before it takes its step."""

    def __init__(self, built: Experiment, size: int) -> None:
        """Args: size: of the text; the schedule spans it [bytes]."""
        assert isinstance(built.source, CodedText)
        assert built.online is not None
        self.source = built.source
        recipe = replace(built.trainer, bytes=max(size, 1), steps=None, epochs=None, batch_size=1)
        self.learner = Learner(replace(built, trainer=recipe))
        self.again = Again(self.learner, self.source, built.online.again_after)

    def code(self, stages: Sequence[Stretch], text: Bytes, code: Coder, doing: str) -> float:
        """Both directions; a decoder fills the text in. Returns: what the model says that the bytes cost [nats]."""
        order, nats = ScoreFirst(Following(self.learner, self.again)), 0.0
        with order.forecaster, progress(doing, sum(stage.cut.coded for stage in stages)) as done:
            for stage in stages:
                if stage.cut.coded:
                    nats += self._stage(order, stage, text, code, done)
        return nats

    def _stage(self, order: ScoreFirst, stage: Stretch, text: Bytes, code: Coder, done: Done) -> float:
        columns = self.source.columns = Columns(stage.cut.streams_of(text).copy(), known=1)
        self.learner.progress = replace(self.learner.progress, position=0)
        self.again.begin()
        order.open(portion_of(columns), CPU)
        code_chunks(order, columns, self._chunks(stage, columns), code, done)
        stage.cut.streams_of(text)[:] = columns.tokens
        return order.running.total

    def _chunks(self, stage: Stretch, columns: Columns) -> Iterator[Chunk]:
        """Those that the learner is going to read, one before each of its steps."""
        learner = self.learner
        while (position := learner.progress.position) < columns.positions(0):
            pace = stage.pace(position)
            learner.trainer = replace(learner.trainer, batch_size=stage.cut.streams, bptt=pace.bptt)
            self.again.steps = pace.again
            (chunk,) = learner.chunks()
            yield chunk

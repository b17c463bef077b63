"""TensorBoard's event files: what a run and a probe write for people to look at.

Written without TensorFlow and without a thread: a record is in the file when the call returns, so that a process which
is killed loses none.
"""

import errno
import itertools
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.compat.proto.types_pb2 import DT_STRING
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.custom_scalar import metadata as custom_scalars
from tensorboard.plugins.text import metadata as text_plugin
from tensorboard.summary.writer.record_writer import RecordWriter

from rnnlab.console import say

PATTERN = "events.out.tfevents.*"
_count = itertools.count()


class EventFile:
    """One event file, open for writing. A disk that takes no more silences it, with one warning: it is only a view."""

    def __init__(self, folder: Path, label: str, first: bool = False) -> None:
        """Args:
        folder: made if it is not there; if it is a link, nothing is written.
        label: how the file's name ends, to tell who wrote it.
        first: TensorBoard is to read it before those that are there already.
        """
        at = 0 if first else time.time_ns() // 1000
        self.path = folder / f"events.out.tfevents.{at}.{os.getpid()}.{next(_count)}.{label}"
        self._records: RecordWriter | None = None
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if folder.is_symlink():
                raise OSError(errno.ELOOP, "a link is in the way")
            self._records = RecordWriter(open(self.path, "wb", buffering=0))  # noqa: SIM115 -- closed by `close`
        except OSError as error:
            self._silence(error)
        self._write(Event(wall_time=time.time(), file_version="brain.Event:2"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def scalars(self, values: Mapping[str, float], step: int, at: float | None = None) -> None:
        """One point of each curve, by tag. Args: at: when [s since 1970]; None for now."""
        self.add(Summary(value=[Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]), step, at)

    def text(self, tag: str, markdown: str) -> None:
        metadata = text_plugin.create_summary_metadata(display_name=tag, description="")
        shape = TensorShapeProto(dim=[TensorShapeProto.Dim(size=1)])
        tensor = TensorProto(dtype=DT_STRING, string_val=[markdown.encode()], tensor_shape=shape)
        self.add(Summary(value=[Summary.Value(tag=tag, metadata=metadata, tensor=tensor)]))

    def picture(self, tag: str, png: bytes, size: tuple[int, int], step: int) -> None:
        """Args: size: width and height [pixels]."""
        image = Summary.Image(width=size[0], height=size[1], colorspace=4, encoded_image_string=png)
        self.add(Summary(value=[Summary.Value(tag=tag, image=image)]), step)

    def layout(self, charts: Mapping[str, Mapping[str, list[str]]]) -> None:
        """The custom scalars page: {category: {chart: regular expressions of tags}}."""
        layout = layout_pb2.Layout()
        for title, inside in charts.items():
            category = layout.category.add(title=title)
            for chart, tags in inside.items():
                category.chart.add(title=chart, multiline=layout_pb2.MultilineChartContent(tag=tags))
        tensor = TensorProto(dtype=DT_STRING, string_val=[layout.SerializeToString()], tensor_shape=TensorShapeProto())
        metadata = custom_scalars.create_summary_metadata()
        tag = custom_scalars.CONFIG_SUMMARY_TAG
        self.add(Summary(value=[Summary.Value(tag=tag, metadata=metadata, tensor=tensor)]))

    def add(self, summary: Any, step: int = 0, at: float | None = None) -> None:
        self._write(Event(wall_time=time.time() if at is None else at, step=step, summary=summary))

    def close(self) -> None:
        if self._records is not None:
            self._records.close()
            self._records = None

    def _write(self, event: Any) -> None:
        try:
            if self._records is not None:
                self._records.write(event.SerializeToString())
        except OSError as error:
            self._silence(error)

    def _silence(self, error: OSError) -> None:
        say(f"{self.path}: {error.strerror}; TensorBoard will not show the rest")
        self.close()

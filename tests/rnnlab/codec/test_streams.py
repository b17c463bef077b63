"""A text cut in streams is whole again, whatever its length."""

import numpy as np
import pytest

from rnnlab.codec.streams import Cut, some_streams
from rnnlab.data.splits import Batches, Split, TextFile
from tests.rnnlab.small_texts import random_bytes, written


@pytest.mark.parametrize("size", [0, 1, 2, 3, 7, 8, 9, 100])
@pytest.mark.parametrize("streams", [1, 2, 3, 8])
def test_streams_and_what_is_stored_as_it_is_are_all_there_is(size: int, streams: int) -> None:
    text = np.frombuffer(random_bytes(size), dtype=np.uint8)
    cut = Cut(0, size, streams)
    again = np.zeros(size, dtype=np.uint8)
    plain = cut.take_plain(text)
    assert len(plain) == cut.plain == size - cut.coded
    cut.put_plain(again, plain)
    if cut.coded:
        cut.streams_of(again)[:, 1:] = cut.streams_of(text)[:, 1:]
    assert np.array_equal(again, text)


def test_a_file_is_cut_as_an_evaluation_cuts_it(tmp_path) -> None:  # type: ignore[no-untyped-def]
    data = random_bytes(103)
    batches = Batches(Split("all", TextFile(written(tmp_path / "x", data)), 0, 103), 4)
    inputs, _ = batches.chunk(0, batches.length - 1)
    streams = Cut(0, 103, 4).streams_of(np.frombuffer(data, dtype=np.uint8))
    assert np.array_equal(streams[:, :-1].T, inputs.numpy())


def test_short_texts_get_fewer_streams() -> None:
    assert [some_streams(size, 8) for size in (0, 1, 5000, 10_000, 10**6)] == [1, 1, 1, 2, 8]

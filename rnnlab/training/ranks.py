"""The processes that share a run: each holds some sequences of the batch, and rank 0 alone touches the disk.

    torchrun --nproc-per-node N -m -- rnnlab train ...

The arguments stand after `-m --`, or torchrun takes some for its own. It says who is who through the environment, and
kills the others 30 seconds after one has died if they hang in NCCL (`--shutdown-timeout` for less). Gradients travel by
gloo between CPUs and by NCCL between GPUs; all else (losses, signals, answers, the state of a checkpoint) by gloo.
"""

import atexit
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NoReturn, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.rendezvous import rendezvous
from torch.nn.parallel import DistributedDataParallel

from rnnlab.errors import ConfigError, RankLost, RnnlabError
from rnnlab.state import State, concat_batch, map_state

T = TypeVar("T")

JOINING = timedelta(minutes=5)  # until all ranks have come
PATIENCE = timedelta(days=30)  # the others wait while rank 0 evaluates; a rank that dies is noticed by its connection

STARTED_BY_HAND = (
    "start with `torchrun --nproc-per-node N -m -- rnnlab train ...`, or unset WORLD_SIZE and RANK (left over from "
    "another job?) for one process"
)

LAST_WORD = 5.0
"""How long the other ranks stay when they fail [s]: torchrun ends all once one has failed, and rank 0 says why."""

_left: list[Any] = []
"""Groups are never taken apart: where DDP holds the last reference, the end of a group waits with the GIL held for
gloo's threads, and they may wait for the GIL."""


@dataclass(frozen=True)
class Ranks:
    """This process among those of the run. Methods that talk have to be called by all ranks, in the same order."""

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the one that writes, prints and evaluates."""
        return self.rank == 0

    def distribute(self, model: nn.Module) -> nn.Module:
        """The module whose backward averages the gradients of all ranks; the model itself if there is one rank."""
        return model if self.count == 1 else DistributedDataParallel(model)

    def mean(self, x: Tensor) -> Tensor:
        """The mean of x over the ranks."""
        if self.count > 1:
            with self.reporting_lost_rank():
                dist.all_reduce(x)
            x = x / self.count
        return x

    def any(self, flag: bool) -> bool:
        """Whether it holds on any rank."""
        return bool(self.largest(flag)[0])

    def largest(self, *numbers: int) -> list[int]:
        """The largest of each number over the ranks, in one exchange: so that all of them do the same at one step."""
        if self.count == 1:
            return list(numbers)
        largest = torch.tensor(numbers, dtype=torch.int64)
        with self.reporting_lost_rank():
            dist.all_reduce(largest, dist.ReduceOp.MAX)
        return [int(number) for number in largest.tolist()]

    def broadcast_from_rank0(self, act: Callable[[], T]) -> T:
        """What rank 0 answers, or the error for a user that it raises, on every rank; the others wait for it."""
        if self.count == 1:
            return act()
        answer: list[Any] = [None, None]
        if self.first:
            try:
                answer[0] = act()
            except RnnlabError as error:
                answer[1] = error
        with self.reporting_lost_rank():
            dist.broadcast_object_list(answer, src=0, device=torch.device("cpu"))
        if answer[1] is not None:
            raise answer[1]
        return answer[0]  # type: ignore[no-any-return]

    def gather_batch(self, state: State) -> State:
        """The state of the sequences of all ranks, on rank 0; on the others that of their own."""
        if self.count == 1:
            return state
        states: list[State] | None = [None] * self.count if self.first else None
        with self.reporting_lost_rank():
            dist.gather_object(map_state(Tensor.cpu, state), states, dst=0)
        return state if states is None else concat_batch(states)

    @contextmanager
    def reporting_lost_rank(self) -> Iterator[None]:
        """Around what waits for the other ranks. Raises: RankLost in place of the network's error once one has died."""
        try:
            yield
        except RuntimeError as error:
            said = str(error)  # NCCL's errors have a class of their own; gloo's are told by their text
            of_gloo = "gloo" in said.lower() or "connection" in said.lower()
            if self.count == 1 or not (of_gloo or isinstance(error, dist.DistError)):
                raise
            raise RankLost(
                f"rank {self.rank} lost another rank of the run; the checkpoints are whole, and `rnnlab resume` "
                f"goes on from the newest ({said.splitlines()[0]})"
            ) from error


ALONE = Ranks()


@contextmanager
def ranks() -> Iterator[Ranks]:
    """The ranks that torchrun started, connected within the block; `ALONE` without torchrun."""
    if os.environ.get("WORLD_SIZE", "1") == "1" or dist.is_initialized():
        yield ALONE
        return
    backend, local = "gloo", local_rank()
    if local < torch.cuda.device_count():  # what happens where there are fewer devices than ranks, Trainer decides
        backend = "cpu:gloo,cuda:nccl"
        torch.cuda.set_device(local)
    _join(backend)
    try:
        among = Ranks(dist.get_rank(), dist.get_world_size())
        yield among
        among.any(False)  # nobody takes the connections down while another still uses them
    finally:
        _left.append(dist.group.WORLD)
        dist.destroy_process_group()


def local_rank() -> int:
    """Of this process among those of its machine, as torchrun says it. Raises: ConfigError if that is no number."""
    told = os.environ.get("LOCAL_RANK", "0")
    if not told.isdecimal():
        raise ConfigError(f"LOCAL_RANK={told!r} is not what torchrun sets; {STARTED_BY_HAND}")
    return int(told)


def _join(backend: str) -> None:
    """Meet the other ranks.

    Raises: ConfigError if nobody said where, or this cannot be one of them; RankLost if one does not come.
    """
    names = ("WORLD_SIZE", "RANK", "MASTER_ADDR", "MASTER_PORT")
    told = {name: os.environ.get(name, "") for name in names}
    if missing := [name for name in names if not told[name] or (name != "MASTER_ADDR" and not told[name].isdecimal())]:
        here = ", ".join(f"{name}={told[name]!r}" for name in names)
        raise ConfigError(
            f"the environment is that of one rank of several, but {missing[0]} is not what torchrun sets ({here}); "
            f"{STARTED_BY_HAND}"
        )
    if int(told["RANK"]) >= int(told["WORLD_SIZE"]):
        raise ConfigError(
            f"the environment is that of one rank of several, but RANK={told['RANK']} is not below "
            f"WORLD_SIZE={told['WORLD_SIZE']}; {STARTED_BY_HAND}"
        )
    try:
        store, rank, count = _interruptible(_meet)
    except dist.DistError as error:
        raise RankLost(
            f"rank {told['RANK']}: not all of the {told['WORLD_SIZE']} ranks came to {told['MASTER_ADDR']}:"
            f"{told['MASTER_PORT']} within {JOINING.total_seconds():.0f} s; start them together, or unset WORLD_SIZE "
            f"and RANK if there is to be one process ({str(error).splitlines()[0]})"
        ) from error
    dist.init_process_group(backend, store=store, rank=rank, world_size=count, timeout=PATIENCE)


def _meet() -> tuple[Any, int, int]:
    """(store, rank, count) once all ranks have come. Raises: DistError if one has not in time."""
    store, rank, count = next(rendezvous("env://", timeout=JOINING))
    store.set(f"rnnlab rank {rank}", "here")
    store.wait([f"rnnlab rank {other}" for other in range(count)], JOINING)
    return store, rank, count


def _interruptible(wait: Callable[[], T]) -> T:
    """What `wait` returns or raises, from a thread: torch waits in C++, where no signal would be heard until the end.

    A signal whose handler raises ends the wait; the thread then goes on until its own end, or that of the process.
    """
    outcome: Future[T] = Future()

    def act() -> None:
        try:
            outcome.set_result(wait())
        except BaseException as error:
            outcome.set_exception(error)

    threading.Thread(target=act, name="rnnlab rendezvous", daemon=True).start()
    return outcome.result()


def leave(code: int) -> NoReturn:
    """End a process that was a rank with this exit code: all that Python does at its end, but not Python's own end.

    A thread of gloo lets go of its last work some time after the caller has the result, and takes the GIL for that; if
    Python is being taken apart by then, torch aborts the process (pytorch/pytorch#190489).
    """
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    has_peers = os.environ.get("RANK", "0") != "0" and bool(os.environ.get("MASTER_ADDR"))
    if code and has_peers and (_left or code < 128):  # a signal before they met says all there is to say
        time.sleep(LAST_WORD)
    os._exit(code)

"""The recipe of a run, as gin binds it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
import torch.distributed as dist

from rnnlab.data.source import Source
from rnnlab.devices import check_card, check_precision
from rnnlab.errors import ConfigError
from rnnlab.registry import configurable
from rnnlab.scoring.dynamic import Dynamic
from rnnlab.task import Task
from rnnlab.training.groups import check_lr_factors
from rnnlab.training.ranks import local_rank
from rnnlab.training.schedules import Schedule

MOST_THREADS = 1024
SAVE_SECONDS = 300.0  # [s] between checkpoints, where the recipe says neither steps nor seconds


@configurable
@dataclass
class Trainer:
    """The recipe: on what, by which rule, for how long, and what is written down on the way.

    The run ends at the first of `bytes`, `steps` and `epochs` that it reaches. One on the command line takes the place
    of those in files. What begins with eval_, log_ and save_ changes no bit of the loss curve.
    """

    source: Callable[[], Source | Task]
    optimizer: Callable[..., torch.optim.Optimizer]
    schedule: Callable[[], Schedule]
    batch_size: int  # B: contiguous pieces of a text, or examples of a task, trained side by side
    bptt: int  # T [positions] that gradients reach back
    jitter: bool = False  # vary the chunk's length from step to step, as the paper's recipe does
    accumulate: int = 1  # [chunks] whose gradients make one step
    clip: float | None = None  # bound on the global norm of the gradient
    weight_decay_on: Literal["all", "matrices"] = "all"  # matrices: two dimensions or more, so no norm, bias or decay
    lr_factors: dict[str, float] | None = None  # on the learning rate, by part of the model: {'core': 0.5}
    bytes: int | None = None
    steps: int | None = None
    epochs: float | None = None
    precision: Literal["fp32", "tf32", "bf16", "fp16"] = "fp32"  # of the products; tf32 is an NVIDIA GPU's
    device: str = "auto"  # auto, cpu, cuda, cuda:1
    compile: bool = False  # by torch.compile, whose kernels take the place of ours; minutes before the first step
    cuda_graph: bool = False  # a chunk's passes in one launch; an NVIDIA GPU's, for chunks of one length
    seed: int = 1
    unseen_logit: float | None = None  # first output bias of tokens that are never asked; LAMB then leaves them out
    eval_every: int | None = None  # [bytes]; None for each epoch, or each tenth of the budget if that is less
    eval_bytes: int | Literal["all"] | None = None  # [bytes] of a split that are scored; None for what costs a fifth
    eval_batch_size: int = 8
    eval_bptt: int = 1024  # [positions]
    log_every: int = 10  # [steps]
    save_every: int | None = None  # [steps]; a checkpoint is due by whichever of the two comes first
    save_seconds: float | None = None  # [s] of wall time; None for 300 if save_every is None too, else for none
    threads: int | None = None  # on the CPU; None for as many as the size of the model is worth
    keep: int = 2  # checkpoints, beside the best
    dynamic: Callable[[], Dynamic] | None = None  # once it is trained, score it also as it goes on learning: @Dynamic
    online: bool = False  # score each chunk of the first pass before it is learned from: online_bpc

    def __post_init__(self) -> None:
        counts = ("batch_size", "bptt", "accumulate", "eval_batch_size", "eval_bptt", "log_every", "keep")
        for name in counts:
            bound = 2 if name in ("bptt", "keep") else 1
            if getattr(self, name) < bound:
                raise ConfigError(f"Trainer.{name} = {getattr(self, name)}: at least {bound}")
        optional = ("bytes", "steps", "epochs", "eval_every", "eval_bytes", "clip", "save_every", "save_seconds")
        for name in optional:
            value = getattr(self, name)
            if value is not None and value != "all" and value <= 0:
                raise ConfigError(f"Trainer.{name} = {value}: more than 0, or None")
        if self.threads is not None and not 1 <= self.threads <= MOST_THREADS:
            raise ConfigError(f"Trainer.threads = {self.threads}: 1 to {MOST_THREADS}, or None")
        check_lr_factors(self.lr_factors or {})
        if self.cuda_graph and (self.jitter or self.accumulate > 1):
            varying = "Trainer.jitter = False" if self.jitter else "Trainer.accumulate = 1"
            raise ConfigError(f"Trainer.cuda_graph = True: a recorded step is one chunk of one length; bind {varying}")
        if self.bytes is None and self.steps is None and self.epochs is None:
            raise ConfigError("no budget: bind Trainer.bytes, Trainer.steps or Trainer.epochs, or pass --bytes N")

    def seconds_between_saves(self) -> float | None:
        """Of wall time [s]; None if steps alone decide."""
        return SAVE_SECONDS if self.save_every is None and self.save_seconds is None else self.save_seconds

    def torch_device(self) -> torch.device:
        """The device with its number. Raises: ConfigError if it is not there, or this torch has no code for it."""
        name = self.device
        if name == "auto":
            name = "cuda" if torch.cuda.is_available() else "cpu"
        try:
            device = torch.device(name)
        except RuntimeError:
            device = None
        if device is None or device.type not in ("cpu", "cuda"):
            raise ConfigError(f"Trainer.device = {name!r}: use 'auto', 'cpu', 'cuda' or 'cuda:1'")
        if device.type != "cuda":
            return device
        if dist.is_initialized() and device.index is not None:
            raise ConfigError(f"Trainer.device = {name!r}: of several ranks each takes a card of its own; use 'cuda'")
        if not torch.cuda.is_available():
            raise ConfigError(f"Trainer.device = {name!r}: this torch sees no CUDA device; use --device cpu")
        rank = local_rank() if dist.is_initialized() else 0  # or the environment is left over from others
        number = rank if device.index is None else device.index
        if number >= torch.cuda.device_count():
            raise ConfigError(
                f"Trainer.device = {name!r}: there are {torch.cuda.device_count()} CUDA devices, from cuda:0"
                + (f", and none for rank {rank}; start fewer ranks, or use --device cpu" if rank else "")
            )
        if torch.version.hip is None:
            card = torch.cuda.get_device_name(number), torch.cuda.get_device_capability(number)
            check_card(*card, torch.cuda.get_arch_list())
        return torch.device("cuda", number)

    def training_device(self, ranks: int = 1) -> torch.device:
        """Where so many ranks train by this recipe; a trained model runs on any device.

        Raises: ConfigError if the device is not there, or is none for the precision or the CUDA graph.
        """
        device = self.torch_device()
        if self.precision == "tf32" and device.type != "cuda":
            raise ConfigError(
                f"Trainer.precision = 'tf32': NVIDIA GPUs have it, and the device is {device}; use 'fp32'"
            )
        if self.cuda_graph and (device.type != "cuda" or ranks > 1):
            where = f"the device is {device}" if device.type != "cuda" else "several ranks share this run"
            raise ConfigError(f"Trainer.cuda_graph = True: for one process on an NVIDIA GPU, and {where}; use False")
        if device.type == "cuda" and torch.version.hip is None:
            card = torch.cuda.get_device_name(device), torch.cuda.get_device_capability(device)
            check_precision(*card, self.precision)
        return device

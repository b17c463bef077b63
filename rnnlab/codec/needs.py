"""What has to be the same for a decoder to come to the encoder's numbers, to the last bit."""

import hashlib
import platform
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor, nn

import rnnlab
from rnnlab.errors import ConfigError
from rnnlab.evaluation import longest_memory
from rnnlab.matmul import use_fast_products
from rnnlab.ops import native

REMEDIES = {
    "model": "name the run that it was compressed with, at the same checkpoint",
    "kernels": "RNNLAB_NATIVE=0 at both ends does without them",
}


def hash_of(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, shapes, dtypes and numbers."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        digest.update(tensor.detach().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def needs(model: nn.Module) -> dict[str, Any]:
    """Of this process and this model, by what each is called in errors."""
    compiled = native.kernels()
    return {
        "rnnlab": rnnlab.__version__,
        "torch": torch.__version__,
        "constriction": version("constriction"),
        "machine": f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}",
        "kernels": "none" if compiled is None else compiled.identity,
        "products": "oneDNN" if use_fast_products() else "torch",
        "memory": longest_memory(model),
        "model": hash_of(model.state_dict()),
    }


def check_needs(name: str, needed: Mapping[str, Any], here: Mapping[str, Any]) -> None:
    """Raises: ConfigError naming all that the file `name` needs to be otherwise."""
    unlike = [key for key in {**needed, **here} if needed.get(key) != here.get(key)]
    if unlike:
        told = ", ".join(f"{key} {_short(needed.get(key))} (here {_short(here.get(key))})" for key in unlike)
        remedies = [REMEDIES[key] for key in unlike if key in REMEDIES]
        raise ConfigError(f"{name} was written with {told}; {remedies[0] if remedies else 'decompress it there'}")


def _short(value: Any) -> str:
    text = "none" if value is None else str(value)
    return text[:12] if len(text) == 64 else text

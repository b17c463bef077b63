"""What a module must not do that the worker server imports: it asks for a card."""

import torch

from tests.gpu.counted import report

HAS_CARD = torch.cuda.is_available()
__all__ = ["report"]

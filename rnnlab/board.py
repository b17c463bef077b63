"""TensorBoard's view of a run; metrics.jsonl is the truth."""

from typing import Any, Self

from rnnlab.runfolder import RunFolder


class BoardObserver:
    """Writes each record of metrics.jsonl to the run's tb/ folder as scalars."""

    def __init__(self, folder: RunFolder, first_step: int) -> None:
        self._folder, self._first_step = folder, first_step

    def __enter__(self) -> Self:
        from torch.utils.tensorboard import SummaryWriter  # takes a second to import

        # purge_step: points after the checkpoint that a resumed run goes on from would stay beside the new ones
        self._writer = SummaryWriter(str(self._folder.path / "tb"), purge_step=self._first_step + 1)  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *error: object) -> None:
        self._writer.close()  # type: ignore[no-untyped-call]

    def __call__(self, record: dict[str, Any]) -> None:
        kind = record["kind"]
        for name, value in record.items():
            if name not in ("kind", "step", "bytes") and value is not None:
                self._writer.add_scalar(f"{kind}/{name}", value, record["step"])  # type: ignore[no-untyped-call]

"""What the runs of a configuration train on, as far as it can be told before they are built: a text or a task."""

from rnnlab.config import Config, Reference
from rnnlab.task import Task


def trains_on_task(config: Config) -> bool:
    return name_of_source(config).startswith("task.")


def noun_of_source(config: Config) -> str:
    """ "task" or "text"."""
    return "task" if trains_on_task(config) else "text"


def name_of_source(config: Config) -> str:
    """The part that is bound to Trainer.source: `corpus.Enwik8`, `task.Parity`; "nothing" if none is."""
    source = config.value("Trainer.source")
    return source.selector if isinstance(source, Reference) else "nothing"


def task_of(config: Config) -> Task | None:
    """The task; None of a text, which is not opened. Raises: ConfigError if the task refuses what is bound to it."""
    if not trains_on_task(config):
        return None
    with config.activate():
        task: Task = config.construct("Trainer").source()
    return task

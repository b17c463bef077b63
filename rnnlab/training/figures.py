"""What a run says of how good its model is: of a text in bits per character, of a task in accuracy and nats."""

from dataclasses import asdict

from rnnlab.data.splits import Split
from rnnlab.data.task_source import TaskSource
from rnnlab.model import reach
from rnnlab.scoring.losses import LN2
from rnnlab.scoring.score import Answers, Score
from rnnlab.storage.metrics import Record
from rnnlab.training.evaluations import EvaluationPlan
from rnnlab.training.learner import Learner


def valid_figures(learner: Learner) -> Record:
    """The last evaluation during training, and the best so far: the one whose loss was lowest."""
    p = learner.progress
    if learner.source.task is None:
        online = {"online_bpc": p.online_nats / p.online_bytes / LN2} if p.online_bytes else {}
        return {"valid_bpc": p.valid_loss, "best_valid_bpc": p.best_valid_loss, **online}
    return {
        "valid_accuracy": p.valid_accuracy,
        "valid_nats": p.valid_loss,
        "best_valid_accuracy": p.best_valid_accuracy,
        "best_valid_nats": p.best_valid_loss,
    }


def task_facts(learner: Learner) -> Record:
    """What a result says of the task that was trained; of a text nothing."""
    source = learner.source
    if not isinstance(source, TaskSource):
        return {}
    task = source.task
    chances = [task.chance(difficulty) for difficulty in source.valid.difficulties]
    return {
        "valid_chance": sum(chances) / len(chances),
        "reach": reach(learner.model),
        "task": {
            "name": source.name,
            "difficulty": task.difficulty,
            "judged": task.judged,
            "trained": [min(task.trained), max(task.trained)],
        },
    }


def test_figures(score: Score, learner: Learner, limits: EvaluationPlan) -> Record:
    """The test at the end: of a text with the entropy of single bytes in what was scored, of a task at each difficulty,
    with chance and what training had seen beside it."""
    source = learner.source
    if not isinstance(source, TaskSource):
        return {"test_bpc": score.bpc, **_unigrams(learner, limits)}
    seen = source.seen(source.test, learner.trainer.batch_size, learner.progress.reading + 1)
    return {
        "test_accuracy": score.accuracy,
        "test_nats": score.nats,
        "test_chance": score.chance,
        "test_by": [by_difficulty(source.task.difficulty, one) | {"seen": seen[one.difficulty]} for one in score.by],
    }


def _unigrams(learner: Learner, limits: EvaluationPlan) -> Record:
    """What a model that has learned no more than how frequent each byte is comes to [bits/byte]."""
    source, batch_size = learner.source, learner.trainer.eval_batch_size
    splits = {"valid": (source.valid, limits.valid), "test": (source.test, limits.test)}
    return {
        f"{name}_unigram_bpc": split.head(batch_size, limit).unigram_bpc()
        for name, (split, limit) in splits.items()
        if isinstance(split, Split)
    }


def by_difficulty(name: str, answers: Answers) -> Record:
    """One entry of `test_by`, under the task's own word for a difficulty."""
    figures = asdict(answers)
    return {name: figures.pop("difficulty"), **figures}

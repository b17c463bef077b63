"""Deliberately broken parts, each with the law that has to catch it, and the honest parts they are made from."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.laws import (
    broken_attentions,
    broken_blocks,
    broken_cores,
    broken_evaluations,
    broken_feedforwards,
    broken_tasks,
)


@dataclass(frozen=True)
class Mutant:
    """A broken part, the law that has to catch it, and the honest part it was made from."""

    part: Callable[..., Any]
    kind: str
    law: str

    @property
    def __name__(self) -> str:
        return self.part.__name__

    @property
    def honest(self) -> Callable[..., Any]:
        return self.part.__mro__[1]  # type: ignore[attr-defined, no-any-return]


MUTANTS = [
    Mutant(broken_cores.AnswersInFloat32, "core", "shape and dtype"),
    Mutant(broken_cores.PromotesItsState, "core", "shape and dtype"),
    Mutant(broken_cores.CarriesWhatItMultiplied, "core", "state keeps its dtype"),
    Mutant(broken_cores.ForgetsBetweenChunks, "core", "streaming"),
    Mutant(broken_cores.ReturnsTheStateItWasGiven, "core", "streaming"),
    Mutant(broken_cores.NormalizesOverTheChunk, "core", "streaming"),
    Mutant(broken_cores.PeeksOneAhead, "core", "causality"),
    Mutant(broken_cores.SubtractsTheBatchMean, "core", "batch independence"),
    Mutant(broken_cores.WritesIntoItsState, "core", "purity"),
    Mutant(broken_cores.WritesIntoItsInput, "core", "purity"),
    Mutant(broken_cores.RemembersOnItself, "core", "purity"),
    Mutant(broken_cores.CountsItsCalls, "core", "purity"),
    Mutant(broken_cores.CountsInABuffer, "core", "purity"),
    Mutant(broken_cores.CountsInItsState, "core", "state"),
    Mutant(broken_cores.LanesInTheWrongPlace, "core", "state"),
    Mutant(broken_cores.StartsOnTheCPU, "core", "state"),
    Mutant(broken_cores.KeepsTheWholePast, "core", "bounded state"),
    Mutant(broken_cores.DropsTheGradientOfItsLeak, "core", "every parameter learns"),
    Mutant(broken_cores.LearnsADeadParameter, "core", "every parameter learns"),
    Mutant(broken_cores.CutsTheGradientThroughTime, "core", "gradients are true"),
    Mutant(broken_cores.HalvesInFloat32, "core", "gradients are true"),
    Mutant(broken_cores.CancelsInBfloat16, "core", "bfloat16 stays near"),
    Mutant(broken_cores.InitializesUnseeded, "core", "same seed same part"),
    Mutant(broken_cores.HidesItsMatrix, "core", "cost"),
    Mutant(broken_cores.CostsAFraction, "core", "cost"),
    Mutant(broken_cores.ReadsANumberWhenBuilt, "core", "sizes without numbers"),
    Mutant(broken_cores.BehavesWhileCompiled, "core", "compiled is eager"),
    Mutant(broken_cores.ReachesFurtherThanItSays, "core", "reach"),
    Mutant(broken_cores.SaysMoreThanItReaches, "core", "reach"),
    Mutant(broken_cores.TellsHalfOfItsState, "core", "state size"),
    Mutant(broken_cores.NamesAKnobThatTurnsNothing, "core", "state knob"),
    Mutant(broken_attentions.SeesOneTooFew, "attention", "window"),
    Mutant(broken_attentions.SeesOneTooMany, "attention", "window"),
    Mutant(broken_attentions.TrimsOncePerChunk, "attention", "streaming"),
    Mutant(broken_attentions.AlignsItsMaskTopLeft, "attention", "streaming"),
    Mutant(broken_attentions.NeverTrims, "attention", "bounded state"),
    Mutant(broken_attentions.TrimsByNegativeIndex, "attention", "memory of one"),
    Mutant(broken_attentions.AttendsToEmptySlots, "attention", "long memory"),
    Mutant(broken_attentions.CostsTheSameAtAnyMemory, "attention", "cost"),
    Mutant(broken_attentions.CountsTheQueryAsRemembered, "attention", "state size"),
    Mutant(broken_attentions.CallsItsMemoryAnotherName, "attention", "state size"),
    Mutant(broken_feedforwards.LooksAtItsNeighbor, "feedforward", "position wise"),
    Mutant(broken_feedforwards.DropsInEvaluation, "feedforward", "noise is for training"),
    Mutant(broken_feedforwards.IgnoresItsDropout, "feedforward", "noise is for training"),
    Mutant(broken_feedforwards.DropsUncalled, "feedforward", "train is eval without noise"),
    Mutant(broken_feedforwards.DrawsUnseeded, "feedforward", "same seed same part"),
    Mutant(broken_feedforwards.DropsByPlaceInTheBatch, "feedforward", "noise follows the sequence"),
    Mutant(broken_feedforwards.FoldsWrong, "feedforward", "folding"),
    Mutant(broken_feedforwards.FoldsNothing, "feedforward", "folding"),
    Mutant(broken_feedforwards.FoldsItself, "feedforward", "folding"),
    Mutant(broken_blocks.LosesTheMemory, "block", "streaming"),
    Mutant(broken_blocks.KeepsANormForNoAttention, "block", "every parameter learns"),
    Mutant(broken_blocks.CountsNoMemory, "block", "state size"),
    Mutant(broken_tasks.TestsWhatIsEasy, "task", "difficulties"),
    Mutant(broken_tasks.TrainsOnNothing, "task", "difficulties"),
    Mutant(broken_tasks.OfLengthsThatVary, "task", "tokens and lengths"),
    Mutant(broken_tasks.ShorterWhenItIsHarder, "task", "tokens and lengths"),
    Mutant(broken_tasks.IgnoresByMinusOneHundred, "task", "tokens and lengths"),
    Mutant(broken_tasks.AnswersInInt32, "task", "tokens and lengths"),
    Mutant(broken_tasks.CopiesFromItsNeighbor, "task", "seed and number"),
    Mutant(broken_tasks.BuiltUnseeded, "task", "seed and number"),
    Mutant(broken_tasks.SharesItsSeeds, "task", "splits draw apart"),
    Mutant(broken_tasks.AsksTheLastButOne, "task", "what is asked"),
    Mutant(broken_tasks.AsksNothingOfSome, "task", "what is asked"),
    Mutant(broken_tasks.WeighsBelowZero, "task", "what is asked"),
    Mutant(broken_tasks.OracleWrongInOneCase, "task", "oracle"),
    Mutant(broken_tasks.OracleChangesTheInputs, "task", "oracle"),
    Mutant(broken_tasks.AnswersOneEarly, "task", "causal answers"),
    Mutant(broken_tasks.OracleForItsOwnAlone, "task", "causal answers"),
    Mutant(broken_tasks.AsksOneEarly, "task", "chance"),
    Mutant(broken_tasks.AsksOneLate, "task", "chance"),
    Mutant(broken_tasks.ChanceTooHigh, "task", "chance"),
    Mutant(broken_tasks.ChanceTooLow, "task", "chance"),
    Mutant(broken_tasks.ChanceOfTheWrongAlphabet, "task", "chance"),
    Mutant(broken_tasks.LovesItsFirstLetter, "task", "chance"),
    Mutant(broken_tasks.AnswersInTheInput, "task", "own token"),
    Mutant(broken_tasks.SaysThatTokensTell, "task", "own token"),
    Mutant(broken_evaluations.LearnsFirst, "evaluation", "score is a code length"),
    Mutant(broken_evaluations.LearnsFirstByRms, "evaluation", "score is a code length"),
    Mutant(broken_evaluations.SumsToOnePercentMore, "evaluation", "score is a code length"),
    Mutant(broken_evaluations.SkipsHardBytes, "evaluation", "score is a code length"),
    Mutant(broken_evaluations.LeavesHardBytesOutOfTheMean, "evaluation", "score is a code length"),
    Mutant(broken_evaluations.ScoresTheLikeliest, "evaluation", "score is a code length"),
]

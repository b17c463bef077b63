"""The laws that every part obeys, for your own parts too:

    import pytest
    from rnnlab import testing

    @pytest.mark.parametrize("law", testing.laws("core"))
    def test_my_core_obeys(law):
        law(MyCore)

`check(MyCore)` gives the outcomes as a list; `report(["core.MyCore"])` prints them, as `rnnlab check` does.
"""

# Each of these enters its laws in the book; laws are tried in this order.
# isort: off
from rnnlab.testing import sequence, memory, reach, noise, numbers, cost
from rnnlab.testing import examples, answers, chance
from rnnlab.testing import evaluations

# isort: on
from rnnlab.testing.blocks import all_pairs, covering, fill
from rnnlab.testing.law import Law, kinds, laws
from rnnlab.testing.report import Outcome, check, registered_pairs, report

__all__ = ["Law", "Outcome", "all_pairs", "check", "covering", "fill", "kinds", "laws", "registered_pairs", "report"]
__all__ += ["answers", "chance", "cost", "evaluations", "examples", "memory", "noise", "numbers", "reach", "sequence"]

import pytest
from my_task import Majority

from rnnlab import testing


@pytest.mark.parametrize("law", testing.laws("task"))
def test_majority_obeys(law):
    law(Majority)

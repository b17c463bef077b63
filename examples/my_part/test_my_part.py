import pytest
from my_part import Ema

from rnnlab import testing


@pytest.mark.parametrize("law", testing.laws("core"))
def test_ema_obeys(law):
    law(Ema)

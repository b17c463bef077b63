"""A real SLURM for the tests of studies; see tests/studies/slurm.py."""

from collections.abc import Iterator

import pytest

from tests.studies.slurm import Cluster, cluster


@pytest.fixture(scope="module")
def slurm_of_module() -> Iterator[Cluster]:
    with cluster(MaxArraySize=501, MaxJobCount=5000) as made:
        yield made


@pytest.fixture
def slurm(slurm_of_module: Cluster) -> Iterator[Cluster]:
    """With nothing left in its queue by a test that failed."""
    yield slurm_of_module
    slurm_of_module.clear()

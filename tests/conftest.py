"""For the whole suite: what must be set before torch is imported; plugins of one test that others must not see."""

import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

# as the command line does: without it a busy machine makes small operations 100x slower
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# where several processes share the tests, they share the cores, too
if (processes := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))) > 1:
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // processes)))

# on a busy machine an example may take any time; what is slow is measured by the benchmarks
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture(autouse=True, scope="module")
def _no_plugin_outlives_its_module() -> Iterator[None]:
    from tests.plugins import forgotten  # imports torch

    with forgotten():
        yield

"""For the whole suite: what must be set before torch is imported."""

import os

# as the command line does: without it a busy machine makes small operations 100x slower
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

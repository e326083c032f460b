"""Settings of the whole suite."""

import os

from hypothesis import settings

# Each worker keeps to its share of the cores; torch reads this when it is first imported. Two workers with a thread for
# every core each would spend most of their time waiting for one another.
if workers := os.environ.get("PYTEST_XDIST_WORKER_COUNT"):
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // int(workers))))

# A shared machine can stall any example for a second; what takes long shows in the suite's own time.
settings.register_profile("dycktune", deadline=None)
settings.load_profile("dycktune")

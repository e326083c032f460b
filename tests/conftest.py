"""Settings of the whole suite."""

from hypothesis import settings

# A shared machine can stall any example for a second; what takes long shows in the suite's own time.
settings.register_profile("dycktune", deadline=None)
settings.load_profile("dycktune")

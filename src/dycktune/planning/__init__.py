"""A plan of a run before it starts: steps, memory, time, disk, and the settings that look wrong."""

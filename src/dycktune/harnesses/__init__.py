"""Tasks for other evaluation programs, scored by this program's verifier."""

"""The task: brackets, problems, traces, the prompt and the verifier."""

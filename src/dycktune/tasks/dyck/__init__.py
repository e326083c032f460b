"""Dyck sequences: brackets, problems, traces, the prompt, the verifier, and the task made of them."""

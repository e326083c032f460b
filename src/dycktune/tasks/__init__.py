"""Tasks: questions with a verifiable answer, each behind the protocol of `tasks.base`."""

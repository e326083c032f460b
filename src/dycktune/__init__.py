"""Fine-tune language models on reasoning traces with verifiable answers, and know whether it worked."""

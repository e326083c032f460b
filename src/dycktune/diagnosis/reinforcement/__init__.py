"""The doctor for reinforcement learning: reads rewards, their spread within groups, KL, lengths and entropy."""

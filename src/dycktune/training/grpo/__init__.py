"""Reinforcement learning with the verifier as reward, on TRL's GRPOTrainer."""

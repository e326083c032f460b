"""Fine-tuning: configuration, the weighted loss, the trainer, one run from recipe to checkpoints."""

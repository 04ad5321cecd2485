"""What belongs to neither paper, or to both: data, evaluation, configs, checkpoints and the mesh."""

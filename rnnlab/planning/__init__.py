"""What a run will need, said before it starts: memory and its parts, bytes per second, hours, checkpoints."""

"""What is written down so that nothing is lost: run folders, checkpoints, journals."""

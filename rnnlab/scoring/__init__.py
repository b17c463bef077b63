"""What a score is, and the one place where one comes into being: predicted, then scored, then learned from."""

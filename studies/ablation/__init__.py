"""What an ablation is: variants, the proof of their differences, their cells, statistics and tables."""

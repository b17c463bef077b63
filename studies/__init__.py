"""Searches and ablations: their definitions, one `.gin` file a study, and the code that runs them."""

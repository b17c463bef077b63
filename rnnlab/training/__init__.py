"""From a configuration to a trained model: the recipe, the step, the loop around it, and the ranks that share it."""

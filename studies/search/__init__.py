"""What a search is: its space, its database of trials, the confirmation of its best, and its report."""

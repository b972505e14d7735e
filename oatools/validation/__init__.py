"""How good predictions are in knees that had no part in making them: all, and by group."""

"""Knees with a score and what became of them, and intervals by patient for numbers about them."""

"""The multiple-instance model, its training and its validation."""

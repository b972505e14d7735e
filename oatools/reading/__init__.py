"""The reading study: drawing pairs and scoring answers."""

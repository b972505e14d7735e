"""Figures and the HTML report of a cross-validation."""

"""Volumes: arrays with an affine, read from and written to NIfTI, and brought to canonical axes."""

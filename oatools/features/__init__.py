"""Slices to ImageNet features, and the files that hold them."""

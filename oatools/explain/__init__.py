"""Grad-CAM and the pictures of one knee."""

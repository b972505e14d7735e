"""The N4 bias field correction: an engine of our own, and SimpleITK's."""

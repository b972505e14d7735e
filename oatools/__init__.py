"""Small Unix commands that predict which osteoarthritic knees will lose cartilage, from a baseline MRI."""

__version__ = "0.1.0"

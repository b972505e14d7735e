"""The bias field of a receive coil: N4 on arrays, a gradient-based start, and what oa-n4 does."""

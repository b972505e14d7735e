"""Times to an event that some knees are not followed to: curves, measures, and their intervals.

Everything is in months. Of a knee, `time` is when it had the event or was seen last, and `event`
which of the two it was.
"""

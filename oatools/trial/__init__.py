"""From predictions to a trial: whom it would enrol, how many patients it needs, what it costs."""

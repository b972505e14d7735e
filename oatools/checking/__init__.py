"""Whether what the commands have written is still what they wrote."""

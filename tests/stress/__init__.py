"""What must not happen, tried: kills, faults, hostile files, over all commands, each replayable by name and seed."""

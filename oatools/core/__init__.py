"""What every command shares: tables, running over many items, files, provenance, options."""

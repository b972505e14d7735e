"""The ground of every command: tables, runs over many rows, files, provenance, options."""

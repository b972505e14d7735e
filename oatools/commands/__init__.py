"""One thin file a command: options in, one library call a row, a table out."""

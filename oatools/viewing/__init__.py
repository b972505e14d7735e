"""Looking at knees: a page with scans, heat maps and what is known of each knee."""

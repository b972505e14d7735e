"""The Osteoarthritis Initiative's releases: image tree, clinical tables, endpoints."""

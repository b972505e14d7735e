"""A synthetic OAI download with planted findings."""

"""What is wrong with the data: told, and nothing decided by it."""

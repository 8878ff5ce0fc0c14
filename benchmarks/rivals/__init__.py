"""What others would use for the same work, each in a process of its own."""

"""What an inference costs in joules."""

"""What a job found, in the words of its report."""

"""What was asked for: a job's settings, how they are given, checked, kept in a bundle and told as a call."""

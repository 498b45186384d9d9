"""What servers do under load: ours, and others of the same protocol."""

"""What the command prints: tables, warnings, progress."""

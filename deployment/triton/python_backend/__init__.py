"""What a Triton repository's Python models run: files that are copied into it."""

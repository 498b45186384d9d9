"""What repairs the accuracy of an int8 graph: each correction a file, measured before it is kept."""

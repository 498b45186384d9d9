"""The same numbers in another type: of inputs and outputs, of codes, of blocks; and Casts that change nothing."""

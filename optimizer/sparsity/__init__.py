"""2:4 structured sparsity: which weights take it, which two of every four stay, and how the rest makes up for them."""

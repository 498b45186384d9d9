"""What 2:4 sparsity costs a model without retraining, how much of that is won back, and what winning it back takes."""

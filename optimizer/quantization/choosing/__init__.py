"""What is decided by measuring it on samples: range tables, roundings, errors of single ops, results left in float."""

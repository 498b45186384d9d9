"""Architectures with seeded random weights: public libraries' model code and small nets of our own. Needs torch."""

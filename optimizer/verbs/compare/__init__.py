"""``optimize compare``: two bundles or models on the same inputs, side by side."""

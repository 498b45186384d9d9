"""Trained models that nobody tuned this project for: fetched from packages, fed as their users feed them."""

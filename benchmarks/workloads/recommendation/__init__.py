"""Clicks foretold: Criteo's logs."""

"""The stages of the pipeline: each a function of (inputs, settings) that leaves files and returns plain data."""

"""Engines for many models and targets, built where there is room: on this machine, or on a Ray cluster."""

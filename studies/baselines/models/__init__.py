"""The seven models: their calibration data, held-back data and metric."""

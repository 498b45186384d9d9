"""What numbers flow through a float model: data sources, streaming statistics, ranges, the calibration table."""

"""What a float graph computes on calibration samples: statistics over all, values over a few, how far inputs reach."""

"""Where calibration and evaluation samples come from: files, folders, images, token lines, functions, synthetic."""

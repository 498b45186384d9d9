"""The roofline model's efficiency factors, fitted on published results: ``python -m studies.roofline.calibrate``."""

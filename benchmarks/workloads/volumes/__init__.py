"""Volumes segmented: KiTS19 and BraTS."""

"""Every engine of a job: built, and where it runs here proved, measured and put under load."""

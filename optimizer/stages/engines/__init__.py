"""Every engine of a job: built, and where it runs here checked, measured and put under load."""

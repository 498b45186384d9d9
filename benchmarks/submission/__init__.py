"""A folder in the layout of an MLPerf Inference submission, for any task; unverified, and never an MLPerf result."""

"""The MLPerf Inference tasks, and users' own: data, pre- and post-processing, metric, targets."""

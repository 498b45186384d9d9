"""What MLPerf's rules say of a LoadGen run on a workload: settings, accuracy target, division."""

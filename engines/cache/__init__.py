"""What is kept between runs: plans, stages, how long builds took."""

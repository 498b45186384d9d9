"""What runs a graph, and where: targets, engines, builds, plans. Imports nothing else of ours."""

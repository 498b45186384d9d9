"""Graphs of MLCommons' inference models with random weights, for their FLOPs and bytes: none of them is trained."""

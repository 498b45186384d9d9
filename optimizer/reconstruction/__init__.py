"""One layer's weight made again so that the layer's output comes out right, not the weight: rounded, pruned or both."""

"""How values become codes: number formats and schemes, scales of weights, blocks of weights."""

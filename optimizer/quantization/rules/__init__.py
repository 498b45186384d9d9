"""The placement rules. ``catalogue`` names them; each neighbour module decides one family of them."""

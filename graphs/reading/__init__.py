"""What a graph says: nodes, operators, constants, quantizers, shapes, costs."""

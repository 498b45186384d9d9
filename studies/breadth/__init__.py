"""Breadth: how many models, of how many kinds, does the product take, and is what it says of them true?

Three studies write the same rows: ``architectures`` (networks of public libraries and our own), ``backend`` (ONNX's own
test suite) and ``random_graphs``; ``table`` makes docs/breadth.md of them.
"""

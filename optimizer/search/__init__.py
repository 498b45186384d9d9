"""Which nodes leave int8 so that the accuracy budget holds at the least cost: the search behind ``--max-drop``.

``frontier`` orders what could be done by what was measured of each node, ``narrowing`` decides what to measure next,
``costs`` says what a node in higher precision costs, ``trades`` what a form does, ``record`` is what is left.
Sets are made, measured and kept by ``stages/forms``.
"""

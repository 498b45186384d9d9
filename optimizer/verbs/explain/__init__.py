"""``optimize explain``: the precision plan, what it costs and where its error is, as rows a person reads."""

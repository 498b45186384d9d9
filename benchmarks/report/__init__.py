"""The report: its numbers (``model``), its page (``page``) and its terminal summary (``text``)."""

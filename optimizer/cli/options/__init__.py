"""Options that several verbs share, those of one system each, and files of options."""

"""What each verb does: one module or room per verb, named as on the command line; ``cli`` parses and prints."""

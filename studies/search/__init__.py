"""What ``--max-drop`` comes to on seven models whose metric is known: met on labels that the search did not see?"""

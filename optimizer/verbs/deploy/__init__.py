"""``optimize deploy``: what lays a bundle out for each system, and which option is for which."""

"""A model repository: configurations, versions, ensembles, and which container takes which plan."""

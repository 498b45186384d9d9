"""``optimize bench``: LoadGen on an engine of a bundle, a model file, a folder of graphs, or a served model."""

"""Does the form for TensorRT 8 mean what the typed graph means, on real models and on random ones?"""

"""The demo: a Fashion-MNIST ResNet-14 with its labelled test images (model trained by benchmarks/demo_model/train.py)."""

"""The demo: a Fashion-MNIST ResNet-14, its calibration images and its 10,000 labelled test images."""

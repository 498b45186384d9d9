"""Images sorted and objects found in them: ImageNet and COCO."""

"""What TensorRT would refuse or misread, said or computed in the way it takes."""

"""What each quantization stores a tensor as."""

"""Files as strangers make them."""

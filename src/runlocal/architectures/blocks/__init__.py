"""The pieces that layers are made of."""

"""What is in a computer: tests over a fake driver and fake kernel files."""

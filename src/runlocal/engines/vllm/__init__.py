"""vLLM: how it shares a model out over ranks. What it allocates beside the weights is not computed here."""

"""Questions over the engines: what fits, how far, what would. Everything here asks a runtime for parts and the judge for a verdict."""

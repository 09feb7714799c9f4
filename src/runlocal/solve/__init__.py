"""Questions over the engines: what fits, how far, what would. Everything here asks a runtime for parts and the judge for a verdict.

From below to above, as imports go:

- The question is `asked`; `support` says whether a runtime loads the model, `opening` opens it there.
- Where layers go: `split` shares them out over GPUs, `spill` finds what goes to host memory; `longest` searches for the longest context.
- `cell` judges one quantization at one context on one machine, with its `speed`; `unpriced` says no for a runtime that is not priced.
  `beside` does so where other models run already, `running` where the model itself does.
- `grid` has all cells of a question, and the one that the first line is about.
- A verb each: `check`, with `advice` and a `shelf` of cards; `buy`; `fit`, from `remembered` rows of `tables`, of which it looks at the best
  alone (`ranking`); `fleet`, of `devices`. `ranks` and `relatives` are what `show` has beside.
"""

"""How a generated shop is trained where nobody asks for more: enough to pass the gate, in minutes.

The defaults are better, and take as long as they need.
"""

QUICK = ("train.max_epochs=4", "train.members=2", "train.refit=false", "train.search.steps=400")

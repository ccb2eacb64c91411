"""A newer catalogue for the model that is live: read, embedded, judged and released in minutes, without training."""

"""Language models over event ids. They know nothing of music beyond the size of the vocabulary."""
